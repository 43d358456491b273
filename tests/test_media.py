from __future__ import annotations

import io
import time
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests import pictures
from vision.errors import MediaError
from vision.pictures import media, video, video_reader
from vision.pictures.resize import resize


def decoded(data: bytes, min_wh: tuple[int, int] | None = None) -> media.Rgb:
    return media.decode(data, media.picture_header(data, Path("x.jpg")), min_wh)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone_as_pillow_does(orientation: int) -> None:
    """Every EXIF orientation yields the upright picture, and the header states its upright size."""
    from PIL import ImageOps

    data = pictures.jpeg(orientation=orientation)
    header = media.picture_header(data, Path("x.jpg"))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    mine = media.decode(data, header)
    assert header.size_wh == (upright.shape[1], upright.shape[0])
    assert mine.shape == upright.shape
    assert np.abs(mine.astype(int) - upright).mean() < 2


def test_scaled_decoding_is_at_least_as_large_as_asked() -> None:
    """A scaled JPEG is smaller than the original and no smaller than the size that was asked for."""
    data = pictures.jpeg(pictures.street(1600, 1200), orientation=6)
    pixels = decoded(data, (300, 400))
    assert 300 <= pixels.shape[1] < 1200
    assert 400 <= pixels.shape[0] < 1600


def test_exif_time_zone_and_subseconds_are_read() -> None:
    """OffsetTimeOriginal and SubSecTimeOriginal give an exact time in UTC."""
    data = pictures.jpeg(taken=datetime(2026, 5, 1, 8, 0, 2), offset="+08:00", subsec="25")
    header = media.picture_header(data, Path("x.jpg"))
    assert header.taken_at == datetime(2026, 5, 1, 0, 0, 2, 250_000, tzinfo=UTC)
    assert header.time_sigma_s < 0.1


def test_exif_time_without_zone_is_naive_and_half_a_second_unsure() -> None:
    """Without a zone the time stays local; without sub-seconds half a second is admitted."""
    header = media.picture_header(pictures.jpeg(taken=datetime(2026, 5, 1, 8, 0, 2)), Path("x.jpg"))
    assert header.taken_at == datetime(2026, 5, 1, 8, 0, 2)
    assert header.time_sigma_s == 0.5


def test_exif_position_keeps_its_hemispheres() -> None:
    """South and west are negative."""
    fix = media.picture_header(pictures.jpeg(lonlat=(-122.5, -33.25)), Path("x.jpg")).gps
    assert fix is not None
    assert (fix.longitude_deg, fix.latitude_deg) == pytest.approx((-122.5, -33.25), abs=1e-6)


def test_null_island_is_no_position() -> None:
    """A receiver without a fix writes 0, 0: that is no position."""
    assert media.picture_header(pictures.jpeg(lonlat=(0.0, 0.0)), Path("x.jpg")).gps is None


@pytest.mark.parametrize("name", ["zero.jpg", "cut.jpg", "text.jpg", "huge.png", "cut.png", "header.jpg"])
def test_bad_pictures_give_an_error_with_a_remedy(name: str, tmp_path: Path) -> None:
    """Each kind of broken file becomes a MediaError that says what to do."""
    pictures.bad_pictures(tmp_path)
    with pytest.raises(MediaError) as caught:
        decoded(media.read_bytes(tmp_path / name))
    assert caught.value.remedy


def test_missing_file_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """A path that does not exist is a MediaError, not an OSError."""
    with pytest.raises(MediaError, match="cannot be read"):
        media.read_bytes(tmp_path / "none.jpg")


def test_cmyk_and_16_bit_pictures_are_read_as_rgb() -> None:
    """CMYK JPEGs and 16-bit PNGs come out as 8-bit RGB that looks like the original."""
    plain = pictures.street()
    cmyk = decoded(pictures.jpeg(mode="CMYK"))
    assert cmyk.dtype == np.uint8
    assert np.abs(cmyk.astype(int) - plain).mean() < 12
    out = io.BytesIO()
    grey = (np.asarray(Image.fromarray(plain).convert("L")).astype(np.uint16)) * 257
    Image.fromarray(grey).save(out, "PNG")
    deep = decoded(out.getvalue())
    assert deep.shape == plain.shape
    assert deep.dtype == np.uint8
    assert np.abs(deep[..., 0].astype(int) - grey // 257).mean() < 2


def test_transparent_and_grey_pngs_are_rgb() -> None:
    """PNGs with alpha or one channel come out with three."""
    for mode in ("RGBA", "L", "P"):
        out = io.BytesIO()
        Image.fromarray(pictures.street()).convert(mode).save(out, "PNG")
        assert decoded(out.getvalue()).shape == (240, 320, 3)


def test_media_are_found_in_natural_order(tmp_path: Path) -> None:
    """Folders are searched through and 2 comes before 10."""
    for name in ("b/10.jpg", "b/2.JPG", "a/1.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    names = [path.relative_to(tmp_path).as_posix() for path in media.find_media([tmp_path])]
    assert names == ["a/1.png", "b/2.JPG", "b/10.jpg"]


def video_file(path: Path, seconds: float = 2.0, rate: int = 10, keyframe_every: int = 12) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, options={"g": str(keyframe_every)})
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for i in range(int(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(pictures.street(160, 128, seed=i), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_video_frames_come_at_the_wanted_distance(tmp_path: Path) -> None:
    """A two-second clip read every half second yields four frames with their own times."""
    video_file(tmp_path / "clip.mp4")
    frames = list(video.video_frames(video.read_video(tmp_path / "clip.mp4"), 0.5))
    assert [frame.time_s for frame in frames] == pytest.approx([0.0, 0.5, 1.0, 1.5])
    assert frames[0].pixels.shape == (128, 160, 3)


def test_keyframes_alone_are_decoded_where_they_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keyframes half a second apart serve a frame every half second, and a frame a second; a frame every quarter second
    takes the others too. The pixels come at the size that is asked for, the video's own size beside them."""
    video_file(tmp_path / "clip.mp4", seconds=3.0, keyframe_every=5)
    decoded: list[bool] = []
    real = video_reader._keyframes_suffice
    monkeypatch.setattr(video_reader, "_keyframes_suffice", lambda *a: decoded.append(real(*a)) or decoded[-1])
    for every_s, alone in ((0.5, True), (1.0, True), (0.25, False)):
        frames = list(video.video_frames(video.read_video(tmp_path / "clip.mp4"), every_s, lambda size_wh: (80, 64)))
        # The same again in this process, where it can be seen.
        job = {"every_s": every_s, "size_wh": (160, 128), "wanted_wh": (80, 64)}
        here = [said["time_s"] for said, _ in video_reader.answer(tmp_path / "clip.mp4", job)]
        assert here == [frame.time_s for frame in frames]
        assert decoded.pop() is alone
        steps = np.diff([frame.time_s for frame in frames])
        assert steps.min() >= 0.9 * every_s
        assert steps.max() <= 1.3 * every_s
        assert {frame.pixels.shape for frame in frames} == {(64, 80, 3)}
        assert {frame.size_wh for frame in frames} == {(160, 128)}


def test_a_file_that_is_no_video_says_so(tmp_path: Path) -> None:
    """Text named .mp4 is a MediaError with a remedy."""
    (tmp_path / "clip.mp4").write_text("no video at all")
    with pytest.raises(MediaError) as caught:
        video.read_video(tmp_path / "clip.mp4")
    assert caught.value.remedy


def test_a_smaller_copy_is_the_mean_of_what_it_covers_whatever_the_factor() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (6, 8, 3)).astype(np.uint8)
    for factor in (2, 3, 4, 7, 8, 12):
        large = np.kron(coarse, np.ones((factor, factor, 1), np.uint8))
        for odd in (0, 1):
            padded = np.pad(large, ((0, odd), (0, odd), (0, 0)), mode="edge")
            small = resize(padded, (8, 6))
            assert np.abs(small.astype(int) - coarse).mean() < (1 if factor in (2, 4, 8) and not odd else 30)
    noise = rng.integers(0, 255, (600, 800, 3)).astype(np.uint8)
    assert resize(noise, (80, 60)).std() < 0.25 * noise.std()  # averaged, not sampled
    assert resize(noise, (800, 600)) is noise
    assert resize(noise, (1000, 750)).shape == (750, 1000, 3)


def test_scans_are_counted_wherever_they_begin() -> None:
    rng = np.random.default_rng(1)
    for length in (3, 4, 5, 100, 101):
        for _ in range(20):
            data = rng.choice(np.array([0xFF, 0xDA, 0], np.uint8), length).tobytes()
            for start in (0, 1, 2):
                assert media._scans(data, start) == data.count(b"\xff\xda", start)


def test_a_plain_jpeg_is_one_scan_and_holds_no_second(tmp_path: Path) -> None:
    """Its header tells all without the pixels; only files of several scans are searched for them."""
    out = {kind: io.BytesIO() for kind in ("plain", "progressive")}
    image = Image.fromarray(pictures.street(640, 480))
    image.save(out["plain"], "JPEG", quality=95)
    image.save(out["progressive"], "JPEG", quality=95, progressive=True)
    plain, progressive = out["plain"].getvalue(), out["progressive"].getvalue()
    assert media._is_plain(plain)
    assert media._is_plain(plain[: media._first_scan(plain) + 14])
    assert not media._is_plain(plain[: media._first_scan(plain) + 13])
    assert not media._is_plain(progressive)
    assert media._cost(plain, (640, 480)) == (0, 640 * 480)
    assert media._cost(progressive, (640, 480))[1] >= 6 * 640 * 480

    scan = plain[media._first_scan(plain) : -2]
    begin = time.process_time()
    with pytest.raises(MediaError):
        decoded(plain[:-2] + 500 * scan + plain[-2:])
    assert time.process_time() - begin < 1.0

    long_head = plain[:2] + 6 * (b"\xff\xef\xff\xff" + bytes(65533)) + plain[2:]
    (tmp_path / "long.jpg").write_bytes(long_head)
    assert media.read_picture(tmp_path / "long.jpg").size_wh == (640, 480)
