"""Whether people are hidden: the measure itself, the command, and the shipped model on labelled pictures."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests import pictures
from training.errors import TrainingError
from training.evaluation import redaction
from training.evaluation.redaction_commands import app
from training.release import card as card_file
from vision.detections import Detections
from vision.pictures import redact
from vision.pictures.draw import to_jpeg
from vision.pictures.media import picture_header
from vision.shipped import model_folder
from vision.taxonomy import CLASSES, HIDE_FROM

STREET_WASTE = Path(__file__).resolve().parents[2] / "shared" / "data" / "street-waste"
FROM = tuple(HIDE_FROM.get(name, np.inf) for name in CLASSES)


def test_a_thing_counts_when_nine_tenths_of_it_are_hidden() -> None:
    """Recall by kind, height and angle; what is hidden beside all labels is hidden in vain, `ignore` is not."""
    hidden = np.zeros((100, 200), dtype=bool)
    hidden[:90, :100] = True
    rows = [
        ["person", 0.0, 0.0, 0.1, 1.0],  # nine tenths: counts
        ["person", 0.4, 0.05, 0.6, 0.5],  # half: does not
        ["face", 0.05, 0.1, 0.1, 0.2],
        ["ignore", 0.2, 0.0, 0.5, 1.0],
    ]
    one = redaction.covered(rows, hidden)
    assert [round(thing.hidden, 2) for thing in one.things] == [0.9, 0.5, 1.0]
    assert one.hidden == pytest.approx(0.45)
    assert one.in_vain == pytest.approx((90 * 20 - 0) / 20_000)
    found = redaction.report("m", {"person": 0.02}, [one])
    person = found["kinds"]["person"]
    assert (person["things"], person["hidden"], person["recall"]) == (2, 1, 0.5)
    assert person["60 px or more"]["things"] == 1
    assert person["by_height"]["30 to 60 px"]["hidden"] == 0
    assert person["by_angle"]["ahead"]["recall"] == 0.0
    assert found["kinds"]["plate"]["recall"] is None
    assert "| person, aside | 1 | 1 |" in redaction.table(found)


def test_intervals_are_wilsons() -> None:
    """19 of 19 is at least .876 nine times of ten; the interval never leaves 0 to 1."""
    things = [redaction.Thing("face", 20, True, 1.0)] * 19
    assert redaction.recall(things)["interval"] == [0.875, 1.0]


@pytest.mark.parametrize("text", ["[]", "{", '{"a.jpg": [["dog", 0, 0, 1, 1]]}', '{"a.jpg": [["face", 0, 0, 2, 1]]}'])
def test_labels_are_checked(tmp_path: Path, text: str) -> None:
    """What is no label file is refused with the expected form."""
    path = tmp_path / "labels.json"
    path.write_text(text, "utf-8")
    with pytest.raises(TrainingError, match="no labels of people"):
        redaction.read_labels(path)


def test_two_looks_hide_what_either_saw() -> None:
    """The union of both looks is hidden, each class from its own score on; without a look nothing is called safe."""

    def seen(name: str, score: float) -> Detections:
        return Detections.of([(name, score, (0.0, 0.0, 9.0, 9.0))], (320, 240))

    both = redact.private_only([seen("person", 0.03), seen("vehicle", 0.06)], FROM)
    assert both.names() == ["person", "vehicle"]
    assert len(redact.private_only([seen("person", 0.01), seen("vehicle", 0.04)], FROM)) == 0
    with pytest.raises(ValueError, match="nobody looked"):
        redact.private_only([], FROM)
    assert redact.second_input((1280, 736)) == (480, 288)
    assert redact.second_input((512, 512)) == (192, 192)


def test_a_shown_picture_carries_no_exif() -> None:
    """Whatever the camera wrote, the picture that is kept for viewing holds pixels only."""
    exif = Image.Exif()
    exif[0x010F], exif[0x8298] = "a camera", "a name"
    stream = io.BytesIO()
    Image.fromarray(pictures.street()).save(stream, "JPEG", exif=exif)
    assert picture_header(stream.getvalue(), Path("a.jpg")).size_wh
    shown = to_jpeg(redact.hide(pictures.street(), Detections.empty((640, 480))))
    with Image.open(io.BytesIO(shown)) as image:
        assert dict(image.getexif()) == {}
        assert "exif" not in image.info
    assert b"a camera" in stream.getvalue()
    assert not re.search(rb"Exif|XMP|ICC_PROFILE|Photoshop", shown)


def test_the_command_measures_and_writes_the_card(tmp_path: Path) -> None:
    """`jiejing redact evaluate` reads labels and pictures and prints a table; pictures that are missing are said."""
    Image.fromarray(pictures.street()).save(tmp_path / "a.jpg")
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"a.jpg": [["person", 0.1, 0.1, 0.2, 0.5]]}), "utf-8")
    done = CliRunner().invoke(app, ["evaluate", str(labels), "--pictures", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["kinds"]["person"]["things"] == 1
    failed = CliRunner().invoke(app, ["evaluate", str(labels), "--pictures", str(tmp_path / "none")])
    assert failed.exit_code != 0
    card = tmp_path / "CARD.md"
    card.write_text(f"head\n{card_file.REDACTION[0]}\nformer\n{card_file.REDACTION[1]}\ntail\n", "utf-8")
    redaction.stored(tmp_path, found)
    text = card.read_text("utf-8")
    assert "former" not in text
    assert text.startswith("head\n")
    assert text.endswith("tail\n")
    assert "| person | " in text


def test_the_shipped_model_states_its_redaction() -> None:
    """The card and redaction.json speak of the model that is shipped, and of the scores that hide."""
    folder = model_folder()
    found = json.loads((folder / "redaction.json").read_text("utf-8"))
    assert found["model"] == re.search(r'id = "(.+)"', (folder / "model.toml").read_text("utf-8"))[1]  # type: ignore[index]
    assert redaction.table(found) in (folder / "CARD.md").read_text("utf-8")


@pytest.mark.slow
def test_people_are_hidden_on_labelled_pictures() -> None:
    """On every third labelled picture: persons of 60 px and more .90, faces all; the full figure stands in the card."""
    labels = STREET_WASTE / "people.json"
    if not labels.is_file():
        pytest.skip("../shared/data/street-waste is not there")
    from vision.detecting.detector import Detector

    detector = Detector.load()
    known = redaction.read_labels(labels)
    shown = [name for name in sorted(known) if known[name]][::3]
    found = redaction.report(
        detector.model.id, {}, [redaction.look_at(detector, STREET_WASTE / "images" / n, known[n]) for n in shown]
    )
    assert found["kinds"]["person"]["60 px or more"]["recall"] >= 0.9
    assert found["kinds"]["face"]["recall"] == 1.0
    assert found["hidden_in_vain_share"] <= 0.23  # .20 with the weights that hide people from a score of .005 on
