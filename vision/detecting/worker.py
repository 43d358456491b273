"""The process that decodes and infers: takes jobs from a pipe, works on several at once, answers each once.

It is started by `workers` and ends with it. What may crash or hang (decoders, the inference library) lives
here, so that its end is not the end of a patrol or of a server.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import cv2

from vision.detecting.detector import Detector
from vision.detecting.model import Device
from vision.detecting.workers import HELD, Job, Seen
from vision.detections import Detections
from vision.errors import Fault, MediaError, ModelError
from vision.pictures import footage, redact
from vision.pictures.draw import shown_wh, to_jpeg
from vision.pictures.media import Rgb, picture_header, read_for_now
from vision.pictures.packed import Packed
from vision.pictures.resize import resize

# What a job that only holds pixels sees.
_NOTHING = Detections.empty((1, 1))


class Kept:
    """Frames that were looked at last, a few per thread, for what is shown soon after, and some that are held for
    what is shown later."""

    def __init__(self, threads: int) -> None:
        self._most, self._most_held = 4 * threads, HELD + threads
        self._last: dict[int, Packed] = {}
        self._held: dict[int, Packed] = {}
        self._lock = threading.Lock()

    def put(self, number: int | None, picture: Packed, wanted_wh: tuple[int, int]) -> bool:
        """Keep it if there is a number, it is as large as wanted and not much larger; forget the oldest for it."""
        width, height = picture.size_wh
        if number is None or not (wanted_wh[0] <= width <= 2 * wanted_wh[0] and height >= wanted_wh[1]):
            return False
        with self._lock:
            self._last[number] = picture
            if len(self._last) > self._most:
                del self._last[next(iter(self._last))]
        return True

    def hold(self, number: int | None, instead: int | None) -> bool:
        """Forget this one only when `HELD` others are held, those aside that are just to be shown, and forget another
        for it; whether it was still there."""
        with self._lock:
            if instead is not None:
                self._last.pop(instead, None)
                self._held.pop(instead, None)
            if number is None or (picture := self._last.pop(number, None)) is None:
                return False
            self._held[number] = picture
            if len(self._held) > self._most_held:
                del self._held[next(iter(self._held))]
        return True

    def take(self, number: int | None) -> Packed | None:
        """What was kept or is held under this number, once."""
        with self._lock:
            return None if number is None else self._last.pop(number, self._held.pop(number, None))


def look(job: Job, detector: Detector, kept: Kept) -> Seen | Fault:
    """Do one job. What is wrong with the picture is a fault; what is wrong with the model raises ModelError."""
    try:
        if job.hold:
            return Seen(_NOTHING, kept=kept.hold(job.keep, job.instead))
        if job.hide is not None:
            return _ready_to_show(job, job.hide, detector, kept)
        pixels, size_wh = _pixels(job, detector, detector.decoded_wh)
        packed = Packed.of(pixels) if job.judge or job.keep is not None else None
        quality = 1.0
        if packed and job.judge:
            verdict = footage.judge(packed)
            if verdict.reason:
                return Fault(job.name, verdict.reason, "clean the lens, or drive by daylight")
            quality = verdict.quality
        is_kept = packed is not None and kept.put(job.keep, packed, shown_wh(size_wh))
        found = detector.detect(pixels, size_wh=size_wh, min_score=job.min_score, input_wh=job.input_wh)
        return Seen(found, quality, kept=is_kept)
    except MediaError as error:
        return Fault.of(job.name, error)


def _pixels(
    job: Job, detector: Detector, wanted: Callable[[tuple[int, int]], tuple[int, int]]
) -> tuple[Rgb, tuple[int, int]]:
    """A job's upright pixels, at least as large as `wanted` says for the picture's size, and that size."""
    if job.pixels is not None:
        return job.pixels, job.size_wh or (job.pixels.shape[1], job.pixels.shape[0])
    data = job.data if job.data is not None else read_for_now(job.path or Path(job.name))
    picture = job.picture or picture_header(data, job.path or Path(job.name), for_pixels=True)
    return detector.decode(data, picture, wanted(picture.size_wh)), picture.size_wh


def _ready_to_show(job: Job, seen: Detections, detector: Detector, kept: Kept) -> Seen:
    """A frame at showing size, looked at once more at another size (`redact.second_input`), with all that is private in
    either look hidden."""
    left = kept.take(job.keep)
    pixels, size_wh = _pixels(job, detector, shown_wh) if left is None else (left.pixels(), seen.size_wh)
    pixels = resize(pixels, shown_wh(size_wh))
    scores, input_wh = detector.model.hide_from, redact.second_input(detector.input_for(size_wh))
    again = detector.detect(pixels, size_wh=size_wh, min_score=scores, input_wh=input_wh)
    private = redact.private_only([seen, again], scores)
    return Seen(private, shown=to_jpeg(redact.hide(pixels, private, in_place=True)))


def serve(pipe: Connection, detector: Detector) -> None:
    """Answer jobs until the pipe closes.

    Comes in: (number, job). Goes out, one or two in a list: (number, None) when a job begins, (number, answer) when it
    is done; an answer is what `look` returns, or the ModelError that it raised. Also comes in: (number, size) of
    pictures that are to come, which nobody answers.
    """
    jobs: queue.SimpleQueue[tuple[int, Job | tuple[int, int]]] = queue.SimpleQueue()
    kept = Kept(detector.threads)
    sending = threading.Lock()
    idling = threading.Semaphore(max(1, detector.threads - 1))

    def tell(letters: list[tuple[int, Seen | Fault | ModelError | None]]) -> None:
        if letters:
            with sending:
                pipe.send(letters)
            letters.clear()

    def work() -> None:
        letters: list[tuple[int, Seen | Fault | ModelError | None]] = []
        while True:
            try:
                number, job = jobs.get_nowait()
            except queue.Empty:
                tell(letters)
                number, job = jobs.get()
            if not isinstance(job, Job):
                tell(letters)
                _prepare(detector, job, turned=number)
                continue
            letters.append((number, None))
            tell(letters)
            answer: Seen | Fault | ModelError
            try:
                with idling if job.idly else contextlib.nullcontext():
                    answer = look(job, detector, kept)
            except ModelError as error:
                answer = error
            except BaseException:  # noqa: BLE001, a crash like any other: the watchdog replaces this process
                traceback.print_exc()
                os._exit(1)
            letters.append((number, answer))

    for index in range(detector.threads):
        threading.Thread(target=work, name=f"look-{index}", daemon=True).start()
    while True:
        number, told = pipe.recv()
        if isinstance(told, Job):
            jobs.put((number, told))
        else:
            for thread in range(detector.threads):
                jobs.put((thread, told))


def _prepare(detector: Detector, size_wh: tuple[int, int], turned: int) -> None:
    """Make this thread ready to look at pictures of that size, and once more at those that are shown; the other way
    round where `turned` is odd, so that two threads compile side by side."""
    first = detector.input_for(size_wh)
    sizes = [first, redact.second_input(first)]
    with contextlib.suppress(ModelError):  # the first picture will say it
        for input_wh in reversed(sizes) if turned % 2 else sizes:
            detector.prepare(input_wh)


def refuse(pipe: Connection, error: ModelError) -> None:
    """Answer every job with the error that keeps this process from working, until the pipe closes."""
    while True:
        number, _ = pipe.recv()
        pipe.send([(number, error)])


def main(
    descriptor: int, folder: str, threads: int, input_wh: tuple[int, int] | None, device: Device, tiles: bool
) -> None:
    """Run as a process of its own; `descriptor` is the pipe's. Ends, come what may, when the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the pipe
    cv2.setNumThreads(1)  # pictures are worked on side by side: threads within one would only wait for each other
    pipe = Connection(descriptor)
    try:
        try:
            detector = Detector.load(folder, threads=threads, input_wh=input_wh, device=device, tiles=tiles)
        except ModelError as error:
            refuse(pipe, error)
        else:
            serve(pipe, detector)
    except (EOFError, OSError):
        pass
    finally:
        os._exit(0)  # a thread that hangs in native code must not keep the process
