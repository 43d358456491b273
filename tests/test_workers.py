"""Looking at frames in another process: what happens when it crashes, hangs, or meets a frame that kills it."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import simplejpeg

from tests import pictures
from vision.detecting import worker
from vision.detecting.workers import HELD, Job, Seen, Workers
from vision.errors import Fault, ModelError
from vision.pictures.packed import Packed

INPUT = (160, 160)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Forty pictures, each with its number of things in its name."""
    folder = tmp_path_factory.mktemp("frames")
    for index in range(40):
        (folder / f"{index:02d}.jpg").write_bytes(pictures.jpeg(pictures.street(160 + 2 * index, 160)))
    return sorted(folder.iterdir())


def job(file: Path) -> Job:
    return Job(str(file), path=file, min_score=0.0)


def process_of(workers: Workers) -> subprocess.Popen[bytes]:
    assert workers._process is not None
    return workers._process


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_frames_of_a_dead_or_frozen_worker_are_done_again(files: list[Path], blow: signal.Signals) -> None:
    """A worker is killed, or stopped for ever, in the midst of its frames: each frame has one answer, in order,
    and it is the same answer as without the blow."""
    with Workers(threads=2, input_wh=INPUT, patience_s=2.0) as workers:
        calm = [answer for _, answer in workers.look_at_all(files, job)]
        order = []
        answers = []
        for index, (file, answer) in enumerate(workers.look_at_all(files, job)):
            if index == 10:
                os.kill(process_of(workers).pid, blow)
            order.append(file)
            answers.append(answer)
        assert workers.replaced == 1
    assert order == files
    for before, after in zip(calm, answers, strict=True):
        assert isinstance(before, Seen)
        assert isinstance(after, Seen)
        assert (before.detections.boxes_xyxy == after.detections.boxes_xyxy).all()
        assert before.detections.size_wh == after.detections.size_wh


@pytest.mark.parametrize("harm", ["crash", "hang"])
def test_a_frame_that_kills_workers_is_a_fault_and_its_neighbours_are_not(
    files: list[Path], harm: str, tmp_path: Path
) -> None:
    """One frame that makes native code crash, or never return, becomes a fault; the frames that were worked on beside
    it are answered."""
    poison = tmp_path / f"{harm}.jpg"
    poison.write_bytes(files[0].read_bytes())
    (tmp_path / "sitecustomize.py").write_text(
        "import vision.detecting.worker as w, os, signal, time\n"
        "look = w.look\n"
        "def trap(job, detector, kept):\n"
        "    if job.name.endswith('crash.jpg'): os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if job.name.endswith('hang.jpg'): time.sleep(3600)\n"
        "    return look(job, detector, kept)\n"
        "w.look = trap\n"
    )
    mixed = [*files[:6], poison, *files[6:12]]
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    try:
        with Workers(threads=2, input_wh=INPUT, patience_s=3.0, start_s=20.0) as workers:
            answers = dict(workers.look_at_all(mixed, job))
            assert workers.replaced == 3
    finally:
        patch.undo()
    assert isinstance(answers[poison], Fault)
    assert answers[poison].remedy
    assert all(isinstance(answers[file], Seen) for file in mixed if file != poison)


def test_faults_of_pictures_and_of_the_model_are_told_apart(tmp_path: Path) -> None:
    """A broken picture is a fault of one frame; a model that cannot run ends the batch with one clear error."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing")
    with Workers(input_wh=INPUT) as workers:
        answer = workers.look(job(broken)).result(timeout=60)
        assert isinstance(answer, Fault)
        assert answer.file == str(broken)
    with pytest.raises(ModelError, match="closed"):
        workers.look(job(broken))
    with pytest.raises(ModelError, match="multiples of 32"):
        Workers(input_wh=(100, 100)).look(job(broken))


def test_the_taker_sets_the_pace(files: list[Path]) -> None:
    """However many frames there are, only a few are taken ahead of the answers: memory stays flat."""
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            yield files[taken % len(files)]
            taken += 1

    with Workers(threads=2, input_wh=INPUT) as workers:
        answers = workers.look_at_all(endless(), job)
        for _ in range(5):
            next(answers)
        time.sleep(0.5)
        assert taken <= 5 + 3 * workers.threads


def test_pixels_bytes_and_files_give_the_same(files: list[Path]) -> None:
    """A frame may come as a file, as bytes or decoded; several threads may ask at once."""
    with Workers(threads=2, input_wh=INPUT) as workers:
        pixels = worker.picture_header(files[0].read_bytes(), files[0])
        jobs = [
            Job("file", path=files[0], min_score=0.0),
            Job("bytes", data=files[0].read_bytes(), min_score=0.0),
            Job("header", path=files[0], picture=pixels, min_score=0.0),
        ]
        seen = [future.result(timeout=60) for future in [workers.look(one) for one in jobs]]
        assert all(isinstance(one, Seen) for one in seen)
        first, *others = [one.detections.boxes_xyxy for one in seen if isinstance(one, Seen)]
        assert all(np.array_equal(first, other) for other in others)


def test_a_frame_is_shown_from_the_pixels_of_its_first_look(files: list[Path], tmp_path: Path) -> None:
    """What the worker has kept under a number is not read again, and looks the same but for a level or two; what it has
    not is read."""
    file = tmp_path / "one.jpg"
    file.write_bytes(files[0].read_bytes())
    with Workers(threads=1, input_wh=INPUT) as workers:

        def ask(**fields: Any) -> Seen:
            answer = workers.look(Job("one", path=file, **fields)).result()
            assert isinstance(answer, Seen)
            return answer

        number = workers.number()
        first = ask(keep=number, min_score=workers.model.least_scores)
        anew = ask(hide=first.detections)
        file.unlink()
        again = ask(hide=first.detections, keep=number)
        assert first.kept
        assert again.shown is not None
        assert anew.shown is not None
        kept, read = (simplejpeg.decode_jpeg(data, "RGB").astype(int) for data in (again.shown, anew.shown))
        assert np.abs(kept - read).mean() < 2.0
        assert isinstance(workers.look(Job("one", path=file, hide=first.detections, keep=number)).result(), Fault)
        assert not ask(keep=number, hold=True).kept  # there is nothing to hold any more
        file.write_bytes(files[-1].read_bytes())
        assert not ask(keep=workers.number()).kept  # decoded smaller than it is shown


def test_the_worker_keeps_the_pixels_of_few_frames() -> None:
    kept = worker.Kept(2)
    picture = Packed.of(np.zeros((60, 80, 3), np.uint8))
    assert all(kept.put(number, picture, (80, 60)) for number in range(9))
    assert kept.take(0) is None
    assert kept.take(1) is picture
    assert kept.take(1) is None
    assert not kept.put(9, picture, (81, 60))
    assert not kept.put(9, picture, (30, 20))


def test_pixels_are_held_until_they_are_taken() -> None:
    """A held frame outlives those that come after it; of the held ones the oldest goes when there are too many, or the
    one that another is held instead of."""
    kept = worker.Kept(1)
    picture = Packed.of(np.zeros((60, 80, 3), np.uint8))
    for number in range(HELD + 2):
        assert kept.put(number, picture, (80, 60))
        assert kept.hold(number, None)
    for number in range(100, 110):
        kept.put(number, picture, (80, 60))
    assert kept.take(0) is None
    assert kept.hold(109, 1)
    assert kept.take(1) is None
    assert all(kept.take(number) is picture for number in (*range(2, HELD + 2), 109))
    assert kept.take(2) is None
    assert not kept.hold(2, None)
    assert not kept.hold(None, None)


@pytest.mark.parametrize("wh", [(80, 60), (81, 60), (80, 61), (81, 61)])
def test_what_is_held_comes_back_as_a_jpeg_would_keep_it(wh: tuple[int, int]) -> None:
    """Half the room (and what an odd side adds); brightness within rounding, colours that change slowly too."""
    width, height = wh
    across, down = np.meshgrid(np.linspace(40, 200, width), np.linspace(60, 180, height))
    pixels = np.stack((across, down, (across + down) / 2), axis=2).astype(np.uint8)
    packed = Packed.of(pixels)
    back = packed.pixels()
    assert packed.planes.nbytes <= 1.5 * (width + 1) * (height + 1)
    assert back.shape == pixels.shape
    assert back.flags.c_contiguous
    assert back.flags.writeable
    assert np.abs(back.astype(int) - pixels).max() <= 6


def test_a_size_that_is_expected_changes_no_answer(files: list[Path]) -> None:
    """Engines made ahead of the first picture, for a size that comes and one that does not, and for a worker that was
    asked before."""
    with Workers(threads=2) as workers:
        before = workers.look(job(files[0])).result()
    with Workers(threads=2) as workers:
        workers.expect((640, 480))
        workers.expect((9000, 90))
        after = [workers.look(job(files[0])).result() for _ in range(4)]
        workers.expect((640, 480))
        after.append(workers.look(job(files[0])).result())
        assert workers.replaced == 0
    assert isinstance(before, Seen)
    for one in after:
        assert isinstance(one, Seen)
        assert np.array_equal(one.detections.boxes_xyxy, before.detections.boxes_xyxy)


def test_the_process_ends_with_its_parent(files: list[Path]) -> None:
    """When the process that asked is killed, its worker does not stay behind."""
    code = f"""
from tests.test_workers import job
from vision.detecting.workers import Workers
from pathlib import Path
import time
workers = Workers(input_wh={INPUT})
workers.look(job(Path({str(files[0])!r}))).result()
print(workers._process.pid, flush=True)
time.sleep(60)
"""
    root = Path(__file__).resolve().parents[1]
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent")


def test_closing_leaves_the_pipe_to_the_threads_that_use_it(files: list[Path]) -> None:
    """A number that is freed while the watchdog reads would be given to the next file that is opened, whose bytes the
    watchdog would then take: weights were found changed that way."""
    workers = Workers(threads=1, input_wh=INPUT)
    assert isinstance(workers.look(job(files[0])).result(), Seen)
    pipe = workers._pipe
    assert pipe is not None
    number, held = pipe.fileno(), weakref.ref(pipe)
    workers.close()
    assert pipe.fileno() == number
    with contextlib.suppress(EOFError, OSError):  # the process is gone, and whoever still listens hears of it
        while pipe.poll(10):
            pipe.recv()
    del pipe
    deadline = time.monotonic() + 10
    while held() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.05)
    assert held() is None


class ClosedMeanwhile:
    """A pipe that another thread closes in the middle of a message."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers

    def poll(self, timeout_s: float) -> bool:
        """Something is there."""
        return True

    def recv(self) -> None:
        """As `Connection.recv` does then."""
        self.workers._closed = True
        raise TypeError("'NoneType' object cannot be interpreted as an integer")


def test_a_pipe_closed_in_the_middle_of_a_message_ends_the_watch_quietly() -> None:
    """Closing the workers while a long answer comes in is no error of the watchdog's thread."""
    workers = Workers()
    workers._pipe = cast(Any, ClosedMeanwhile(workers))
    workers._watch()
    assert workers._closed
    assert workers.replaced == 0
