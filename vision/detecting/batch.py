"""Detection alone, over many pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vision.detecting.workers import Job, Workers
from vision.detections import Detections
from vision.errors import Fault


def detect_files(
    files: Sequence[Path], workers: Workers, min_score: float | None = None, draw_dir: Path | None = None
) -> Iterator[tuple[Path, Detections | Fault]]:
    """Detect in many pictures, in their order, as many at once as the workers have threads.

    Yields each file with its detections, or with the fault that kept it from being read.
    """
    for file, answer in workers.look_at_all(files, lambda file: Job(str(file), path=file, min_score=min_score)):
        if isinstance(answer, Fault):
            yield file, answer
            continue
        if draw_dir:
            _draw(file, answer.detections, draw_dir)
        yield file, answer.detections


def _draw(file: Path, found: Detections, folder: Path) -> None:
    from vision.pictures.draw import draw, shown_wh, to_jpeg
    from vision.pictures.media import decode, picture_header, read_bytes
    from vision.pictures.resize import resize

    data = read_bytes(file)
    picture = picture_header(data, file)
    wanted_wh = shown_wh(picture.size_wh)
    shown = resize(decode(data, picture, wanted_wh), wanted_wh)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{file.stem}.jpg").write_bytes(to_jpeg(draw(shown, found)))
