"""POST /v1/detect: a picture in, boxes out; what is no picture is a problem with a remedy."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.serve_support import JPEG, running
from vision.errors import ModelError
from vision.shipped import model_folder
from vision.taxonomy import CLASSES


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with the default model."""
    try:
        model_folder()
    except ModelError as error:
        pytest.skip(str(error))
    with running(tmp_path_factory.mktemp("data")) as client:
        yield client


def _turned() -> bytes:
    """A picture of 320×200 whose EXIF says that it is to be turned a quarter."""
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (320, 200), (90, 90, 90)).save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def test_the_answer_has_the_promised_form(client: TestClient) -> None:
    """Model, size, and per detection class, score and box inside the picture, the best first."""
    answer = client.post("/v1/detect", content=JPEG, headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 200
    told = answer.json()
    assert set(told) == {"model", "width", "height", "detections"}
    assert (told["width"], told["height"]) == (960, 540)
    assert told["model"]
    for one in told["detections"]:
        assert one["class"] in CLASSES
        x_min, y_min, x_max, y_max = one["box"]
        assert 0 <= x_min < x_max <= 960
        assert 0 <= y_min < y_max <= 540
    scores = [one["score"] for one in told["detections"]]
    assert scores == sorted(scores, reverse=True)


def test_size_is_of_the_upright_picture(client: TestClient) -> None:
    """Width and height are those after EXIF orientation."""
    told = client.post("/v1/detect", content=_turned()).json()
    assert (told["width"], told["height"]) == (200, 320)


def test_a_form_works_as_well_as_the_raw_body(client: TestClient) -> None:
    """The same picture as the file of a multipart form gives the same answer."""
    raw = client.post("/v1/detect", content=JPEG).json()
    assert client.post("/v1/detect", files={"picture": ("a.jpg", JPEG, "image/jpeg")}).json() == raw


@pytest.mark.parametrize("content", [b"", b"not a picture", JPEG[:100], b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_a_problem(client: TestClient, content: bytes) -> None:
    """Empty, text, cut off: 422 with a remedy, never a server error."""
    answer = client.post("/v1/detect", content=content)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["remedy"]


def test_the_same_key_is_not_looked_at_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an Idempotency-Key the answer is kept: the same picture is answered without a look, another one refused."""
    key = {"Idempotency-Key": "one"}
    first = client.post("/v1/detect", content=JPEG, headers=key)
    monkeypatch.setattr("serve.sight.Sight.detect", lambda *_: pytest.fail("looked again"))
    assert client.post("/v1/detect", content=JPEG, headers=key).json() == first.json()
    other = client.post("/v1/detect", content=_turned(), headers=key)
    assert (other.status_code, "another request" in other.json()["detail"]) == (422, True)


def test_a_form_without_a_file_is_a_problem(client: TestClient) -> None:
    """A form that holds words only is refused."""
    answer = client.post("/v1/detect", data={"x": "1"}, files={})
    assert answer.status_code == 422


def test_a_picture_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """The limit holds whether or not the length is told."""
    with running(tmp_path, max_detect_bytes=1000) as client:
        assert client.post("/v1/detect", content=b"x" * 1001).status_code == 413
        assert client.post("/v1/detect", content=iter([b"x" * 600, b"x" * 600])).status_code == 413


def test_an_unknown_model_is_said_when_it_is_needed(tmp_path: Path) -> None:
    """A server set to a model that does not exist answers 503 with what to do; the rest works."""
    with running(tmp_path, model="no-such-model") as client:
        answer = client.post("/v1/detect", content=JPEG)
        assert answer.status_code == 503
        assert "no-such-model" in answer.json()["detail"]
        assert client.get("/v1/cases").status_code == 200
