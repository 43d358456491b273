"""Detection alone, over many pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vision.detections import Detections
from vision.detector import Detector
from vision.draw import SHOWN_LONGEST_PX, draw, shrink, to_jpeg
from vision.errors import Fault, MediaError
from vision.media import decode, picture_header, read_bytes
from vision.parallel import bounded_map


def detect_files(
    files: Sequence[Path], detector: Detector, min_score: float | None = None, draw_dir: Path | None = None
) -> Iterator[tuple[Path, Detections | Fault]]:
    """Detect in many pictures, in their order, as many at once as the detector serves threads.

    Yields each file with its detections, or with the fault that kept it from being read.
    """

    def one(file: Path) -> tuple[Path, Detections | Fault]:
        try:
            data = read_bytes(file)
            picture = picture_header(data, file)
            found = detector.detect(detector.decode_for(data, picture), size_wh=picture.size_wh, min_score=min_score)
            if draw_dir:
                shown, _ = shrink(decode(data, picture, (SHOWN_LONGEST_PX, 0)), SHOWN_LONGEST_PX)
                draw_dir.mkdir(parents=True, exist_ok=True)
                (draw_dir / f"{file.stem}.jpg").write_bytes(to_jpeg(draw(shown, found)))
        except MediaError as error:
            return file, Fault.of(str(file), error)
        return file, found

    yield from bounded_map(one, files, detector.threads)
