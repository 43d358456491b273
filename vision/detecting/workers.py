"""Looking at many frames in a process of its own, with a watchdog: a worker that crashes or hangs is replaced.

Every frame is answered exactly once. What a dead worker had not answered goes to the next one; frames that it had begun
go first and one at a time, so that the one that kills workers is known, and becomes a fault after `_TRIES` tries.
"""

from __future__ import annotations

import itertools
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from vision.detecting.model import Device, Model, check_input, load_model
from vision.detections import Detections
from vision.errors import Fault, ModelError
from vision.shipped import model_folder

if TYPE_CHECKING:
    from vision.pictures.media import Picture, Rgb

_TRIES = 2
# How often the watchdog looks; how long one frame may take, hundreds of times what the slowest machine needs; and how
# long a worker may take to load the model and to compile it.
_TICK_S, PATIENCE_S, START_S = 0.5, 60.0, 180.0
# A worker that dies before its first answer has no frame to blame.
_STILLBORN = 3
# Frames whose pixels a worker holds until they are shown: 60 MB of pictures of 12 megapixels.
HELD = 24
Item = TypeVar("Item")
# What a pipe raises whose other end is gone, or that another thread closes in the middle of a long message (TypeError).
_GONE = (EOFError, OSError, ValueError, TypeError, pickle.UnpicklingError)


@dataclass(frozen=True, slots=True)
class Job:
    """One frame to look at: a picture's file, its bytes, or pixels that were decoded already.

    `name` is for faults; `pixels`: upright RGB (height, width, 3) of a picture that is `size_wh` large, perhaps decoded
    smaller; `picture`: the header, when it was read before; `min_score`, for all classes or one per class, replaces the
    model's thresholds, `input_wh` the input size that fits the picture best;
    `judge`: a frame that is too dark or blurred becomes a fault instead of being searched; `hide`: what a first look
    saw, for a frame that is to be shown: it is looked at once more, and people and vehicles are hidden; `keep`: the
    number (`Workers.number`) under which the first look leaves the pixels for the second, if that comes soon; `hold`:
    only leave them longer, until the frame is shown (at most `HELD`), and let those of `instead` go, if any; `idly`:
    only while nothing else waits, and with one thread less, whose core is left to the caller, who will `hurry` or
    `forget` it.
    """

    name: str
    path: Path | None = None
    data: bytes | None = None
    pixels: Rgb | None = None
    size_wh: tuple[int, int] | None = None
    picture: Picture | None = None
    min_score: float | tuple[float, ...] | None = None
    input_wh: tuple[int, int] | None = None
    judge: bool = False
    hide: Detections | None = None
    keep: int | None = None
    hold: bool = False
    instead: int | None = None
    idly: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a frame showed, and from 0 to 1 how well it could be judged (1 when that was not asked).

    `shown`: the JPEG of a frame that is to be shown, `vision.pictures.draw.shown_wh` large; `detections` are what it
    hides. `kept`: whether the pixels wait for the frame to be shown.
    """

    detections: Detections
    quality: float = 1.0
    shown: bytes | None = None
    kept: bool = False


# What a worker is sent: a job under its number, or the size of pictures that will come.
_Letter = tuple[int, Job | tuple[int, int]]
_NOBODY = -1


@dataclass(eq=False, slots=True)
class _Task:
    """A job on its way. `begun_s`: how long the worker has been at it on our own ticks, None before it began."""

    number: int
    job: Job
    done: Future[Seen | Fault] = field(default_factory=Future)
    begun_s: float | None = None
    tries: int = 0


def _post(pipe: Connection, outbox: queue.SimpleQueue[_Letter | None]) -> None:
    """Send letters to one worker. Its own thread, because a worker that hangs lets the sender wait."""
    while (letter := outbox.get()) is not None:
        try:
            pipe.send(letter)
        except _GONE:  # the watchdog sees that too
            return


class Workers:
    """Looks at frames in another process, `threads` at a time. Safe to share between threads; a context manager.

    The process starts with the first frame. `tiles`: see `Detector.load`; `patience_s`: how long one frame may take
    before its worker counts as hung; `start_s`: how long it may take until its first answer.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        threads: int = 2,
        input_wh: tuple[int, int] | None = None,
        device: Device = "cpu",
        tiles: bool = False,
        patience_s: float = PATIENCE_S,
        start_s: float = START_S,
    ) -> None:
        """Raises ModelError when the model folder is unknown, incomplete or fails its hashes, or for a wrong size."""
        check_input(input_wh)
        self.model: Model = load_model(model_folder(folder))
        self.threads = max(1, threads)
        self.replaced = 0
        self._input_wh = input_wh
        self._device = device
        self._tiles = tiles
        self._patience_s = patience_s
        self._start_s = start_s
        self._lock = threading.RLock()
        self._numbers = itertools.count()
        self._waiting: deque[_Task] = deque()
        self._idle: deque[_Task] = deque()
        self._sent: dict[int, _Task] = {}
        self._suspects: deque[_Task] = deque()
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._outbox: queue.SimpleQueue[_Letter | None] = queue.SimpleQueue()
        self._silent_s = 0.0
        self._answered = False
        self._stillborn = 0
        self._closed = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start the process now, so that it gets ready while something else is done."""
        with self._lock:
            if self._process is None and not self._closed:
                self._spawn()
                threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def expect(self, size_wh: tuple[int, int]) -> None:
        """Pictures of this size will come, and some of them will be shown: let the process get ready for them."""
        with self._lock:
            self.start()
            self._outbox.put((_NOBODY, size_wh))

    def decoded_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """The least size (width, height) at which a picture of `size_wh` need be decoded for the detector."""
        from vision.detecting.detector import Letterbox

        if self._tiles:
            return size_wh
        return Letterbox.fit(size_wh, self.input_for(size_wh)).inner_wh

    def input_for(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """The (width, height) of the input that a picture of this size is seen at."""
        from vision.detecting.detector import choose_input

        return choose_input(size_wh, (self._input_wh,) if self._input_wh else self.model.input_sizes)

    def close(self) -> None:
        """End the process; frames that are not answered yet fail."""
        with self._lock:
            self._closed = True
            self._kill()
            self._fail_all(ModelError("the workers were closed", remedy="send frames before closing"))

    def number(self) -> int:
        """A number that no other job has."""
        return next(self._numbers)

    def look(self, job: Job, *, soon: bool = False) -> Future[Seen | Fault]:
        """Send one frame, `soon` before those that wait already; the future holds what it showed, or the fault, or
        raises ModelError."""
        task = _Task(next(self._numbers), job)
        with self._lock:
            if self._closed:
                raise ModelError("the workers were closed", remedy="send frames before closing")
            self.start()
            if soon:
                self._waiting.appendleft(task)
            else:
                (self._idle if job.idly else self._waiting).append(task)
            self._send()
        return task.done

    def prefer(self, futures: set[Future[Seen | Fault]]) -> None:
        """Of what is done idly these come first."""
        with self._lock:
            self._idle = deque(sorted(self._idle, key=lambda task: task.done not in futures))

    def hurry(self, futures: set[Future[Seen | Fault]]) -> None:
        """What was to be done idly is wanted now."""
        with self._lock:
            for task in [task for task in self._idle if task.done in futures]:
                self._idle.remove(task)
                task.job = replace(task.job, idly=False)
                self._waiting.append(task)
            self._send()

    def forget(self, futures: set[Future[Seen | Fault]]) -> None:
        """Nobody waits for these any more: what was not sent is dropped."""
        with self._lock:
            self._waiting = deque(task for task in self._waiting if task.done not in futures)
            self._idle = deque(task for task in self._idle if task.done not in futures)

    def look_at_all(
        self, items: Iterable[Item], job_of: Callable[[Item], Job | Future[Seen | Fault]]
    ) -> Iterator[tuple[Item, Seen | Fault]]:
        """Each item with its answer, in the order of the items. `job_of`: what to look at, or the future of what was
        sent before.

        A few more than are worked on are taken from `items` ahead of time, however slow the taker of the answers is, so
        memory stays flat.
        """
        source = iter(items)
        ahead: deque[tuple[Item, Future[Seen | Fault]]] = deque()

        def take(most: int) -> None:
            for item in itertools.islice(source, most):
                job = job_of(item)
                ahead.append((item, self.look(job) if isinstance(job, Job) else job))

        try:
            take(3 * self.threads)
            while ahead:
                item, future = ahead.popleft()
                answer = future.result()
                take(1)
                yield item, answer
        finally:
            self.forget({future for _, future in ahead})

    def _spawn(self) -> None:
        ours, theirs = Pipe()
        arguments = (theirs.fileno(), str(self.model.folder), self.threads, self._input_wh, self._device, self._tiles)
        code = (
            f"import sys; sys.path[:0] = {sys.path!r}; from vision.detecting.worker import main; main(*{arguments!r})"
        )
        # Not multiprocessing: its children import the caller's main module again.
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
        theirs.close()
        self._pipe, self._outbox = ours, queue.SimpleQueue()
        self._silent_s, self._answered = 0.0, False
        threading.Thread(target=_post, args=(ours, self._outbox), name="post", daemon=True).start()

    def _kill(self) -> None:
        self._outbox.put(None)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        # Our end of the pipe is not closed here: the watchdog may be reading it and the sender writing, and both would
        # go on with whatever file gets its number next. They see the other end close; the last to let go closes ours.
        self._process = self._pipe = None

    def _send(self) -> None:
        """Keep the worker busy: suspects alone, else a few frames more than it has threads, else idle threads."""
        while not self._closed and self._pipe is not None:
            if self._suspects and not self._sent:
                task = self._suspects.popleft()
            elif self._suspects or self._alone():
                return
            elif self._waiting and len(self._sent) < 2 * self.threads:
                task = self._waiting.popleft()
            elif self._idle and len(self._sent) < self.threads:
                task = self._idle.popleft()
            else:
                return
            self._sent[task.number] = task
            self._outbox.put((task.number, task.job))

    def _alone(self) -> bool:
        """Whether a frame that is under suspicion is being tried on its own."""
        return any(task.tries for task in self._sent.values())

    def _watch(self) -> None:
        """Take answers; replace the worker when it is gone, or when one frame takes too long.

        Time is counted in ticks, so that a computer that slept, or this process while it was stopped, blames nobody.
        """
        last = time.monotonic()
        while (pipe := self._pipe) is not None and not self._closed:
            gone, late = False, False
            try:
                if pipe.poll(_TICK_S):
                    for number, answer in pipe.recv():
                        self._take(number, answer)
            except _GONE:
                gone = True
            now = time.monotonic()
            with self._lock:
                if now - last >= _TICK_S:
                    last, late = now, self._tick() > self._patience_s
                if (gone or late) and not self._closed:
                    self._replace()

    def _tick(self) -> float:
        """Half a second more without a word; returns how long the longest wait has been."""
        self._silent_s = self._silent_s + _TICK_S if self._sent else 0.0
        waits = [self._silent_s if self._answered else self._silent_s + self._patience_s - self._start_s]
        for task in self._sent.values():
            if task.begun_s is not None and self._answered:
                task.begun_s += _TICK_S
                waits.append(task.begun_s)
        return max(waits)

    def _take(self, number: int, answer: Seen | Fault | Exception | None) -> None:
        with self._lock:
            self._silent_s = 0.0
            task = self._sent.get(number)
            if task is None:
                return
            if answer is None:
                task.begun_s = 0.0
                return
            self._answered, self._stillborn = True, 0
            del self._sent[number]
            self._send()
        if isinstance(answer, Exception):
            task.done.set_exception(answer)
        else:
            task.done.set_result(answer)

    def _replace(self) -> None:
        """A new worker; what the old one had begun is suspect, what it had not begun just goes again."""
        self._kill()
        self.replaced += 1
        begun = [task for task in self._sent.values() if task.begun_s is not None]
        if not self._answered and not begun:
            self._stillborn += 1
        untouched = [task for task in self._sent.values() if task.begun_s is None]
        self._sent.clear()
        self._waiting.extendleft(reversed(untouched))
        for task in begun:
            task.begun_s = None
            # Only alone is it certain who did it; the first time several share the blame.
            task.tries += 1
            if task.tries > _TRIES:
                task.done.set_result(
                    Fault(task.job.name, "it makes the detector crash or hang", "convert the picture, or leave it out")
                )
            else:
                self._suspects.append(task)
        if self._stillborn >= _STILLBORN:
            self._fail_all(
                ModelError("the detector's process dies at its start", remedy="see its message above; free memory")
            )
            self._closed = True
            return
        self._spawn()
        self._send()

    def _fail_all(self, error: ModelError) -> None:
        tasks = (*self._sent.values(), *self._suspects, *self._waiting, *self._idle)
        self._sent.clear()
        self._suspects.clear()
        self._waiting.clear()
        self._idle.clear()
        for task in tasks:
            if not task.done.done():
                task.done.set_exception(error)
