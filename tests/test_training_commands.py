"""The training commands as a user calls them, on tiny drawn sources."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.pictures import jpeg, street
from training.release.card import BEGIN, END
from training.run.config import TrainConfig
from vision.errors import JiejingError

MANIFEST = """name = "{name}"
title = "drawn"
origin = "this test"
licence = "free"
knows = ["{knows}"]
[classes]
0 = "{first}"
[split]
file = "split.csv"
"""


def call(function_name: str, *words: str) -> Result:
    """Run a command of training.commands with its words."""
    import typer

    from training import commands

    found = getattr(commands, function_name)
    if isinstance(found, typer.Typer):
        app = found
    else:
        app = typer.Typer()
        app.command()(found)
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, str]:
    """Two sources of three pictures, one that knows waste and one that knows adverts, with their manifests."""
    for name, knows, first in (("streets", "waste", "bin"), ("facades", "adverts", "signboard")):
        folder = tmp_path / name
        (folder / "images").mkdir(parents=True)
        (folder / "labels").mkdir()
        rows = ["image,split"]
        for index in range(3):
            (folder / "images" / f"{name}{index}.jpg").write_bytes(jpeg(street(320, 320, seed=index)))
            (folder / "labels" / f"{name}{index}.txt").write_text("0 0.2 0.6 0.1 0.2\n")
            rows.append(f"{name}{index}.jpg,{'val' if index == 2 else 'train'}")
        (folder / "split.csv").write_text("\n".join(rows) + "\n")
        manifest = tmp_path / "datasets" / name / "manifest.toml"
        manifest.parent.mkdir(parents=True)
        manifest.write_text(MANIFEST.format(name=name, knows=knows, first=first))
    pieces = tmp_path / "pieces" / "metal"
    pieces.mkdir(parents=True)
    board = np.full((192, 256, 3), 225, np.uint8)
    cv2.circle(board, (128, 96), 40, (180, 60, 30), cv2.FILLED)
    cv2.imwrite(str(pieces / "can.jpg"), board)
    return {name: f"{name}={tmp_path / name}" for name in ("streets", "facades")}


def both(sources: dict[str, str], tmp_path: Path) -> list[str]:
    """The words that name both sources and where their manifests are."""
    words = [word for option in sources.values() for word in ("--source", option)]
    return [*words, "--manifests", str(tmp_path / "datasets")]


def test_gather_links_and_counts(sources: dict[str, str], tmp_path: Path) -> None:
    """Training pictures of both sources in one folder; the facade's is listed twice as asked."""
    out = tmp_path / "run" / "data"
    result = call("dataset", "gather", *both(sources, tmp_path), "--out", str(out), "--repeat", "facades=2")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["pictures"] == {
        "streets/train": 2,
        "streets/val": 1,
        "facades/train": 2,
        "facades/val": 1,
    }
    assert len((out / "train.txt").read_text().splitlines()) == 6


def test_compose_then_gather(sources: dict[str, str], tmp_path: Path) -> None:
    """Composites are made from the training pictures and gathered beside them."""
    made, out = tmp_path / "made", tmp_path / "data"
    words = ["--pieces", str(tmp_path / "pieces"), "--out", str(made), "--drawn", "2", "--pasted", "0", "--side", "160"]
    assert call("dataset", "compose", *words, *both(sources, tmp_path)).exit_code == 0
    assert len(list((made / "images").iterdir())) == 2
    result = call("dataset", "gather", *both(sources, tmp_path), "--out", str(out), "--composites", str(made))
    assert json.loads(result.stdout)["pictures"]["composites/train"] == 2


def test_evaluate_writes_figures_with_intervals(sources: dict[str, str], tmp_path: Path) -> None:
    """The shipped model is measured on the validation pictures alone: one bin, one signboard, nothing else."""
    out = tmp_path / "figures.json"
    result = call("evaluate", *both(sources, tmp_path), "--input", "320x320", "-o", str(out))
    assert result.exit_code == 0
    report = json.loads(out.read_text())
    assert report["pictures"] == 2
    assert {name: entry["boxes"] for name, entry in report["classes"].items() if entry["boxes"]} == {
        "bin": 1,
        "signboard": 1,
    }
    low, high = report["classes"]["bin"]["mAP50_interval"]
    assert 0 <= low <= report["classes"]["bin"]["mAP50"] <= high <= 1
    assert report["classes"]["shed"]["mAP50_interval"] is None


def test_evaluate_stores_thresholds_figures_and_card(sources: dict[str, str], tmp_path: Path) -> None:
    """With --store the model folder gets metrics.json and a table on its card; without a card nothing is stored."""
    from vision.detecting.model import load_model
    from vision.shipped import model_folder

    folder = tmp_path / "model"
    shutil.copytree(model_folder("street-n"), folder)
    (folder / "metrics.json").unlink(missing_ok=True)
    words = [*both(sources, tmp_path), "--model", str(folder), "--input", "320x320", "--store"]
    (folder / "CARD.md").write_text("# a card without a place\n")
    with pytest.raises(JiejingError, match="no place for the figures"):
        call("evaluate", *words)
    assert not (folder / "metrics.json").exists()
    (folder / "CARD.md").write_text(f"# card\n\n{BEGIN}\nstale\n{END}\n\nThe end.\n")
    assert call("evaluate", *words).exit_code == 0
    card = (folder / "CARD.md").read_text()
    assert "| signboard | 1 |" in card
    assert "fewer than 50 boxes, so hardly more than a hint: bin 1, signboard 1." in card
    assert "stale" not in card
    assert card.endswith("The end.\n")
    assert json.loads((folder / "metrics.json").read_text())["pictures"] == 2
    assert load_model(folder).thresholds == (0.3,) * 13


def test_compare_a_model_with_itself(sources: dict[str, str], tmp_path: Path) -> None:
    """No figure differs, and no line is marked as sure."""
    result = call("compare", "street-n", "street-n", *both(sources, tmp_path), "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["figure"] for row in rows} == {"mAP50", "mAP50-95", "recall"}
    assert all(row["a"] == row["b"] for row in rows)


def test_wrong_words_are_users_errors(sources: dict[str, str], tmp_path: Path) -> None:
    """A source without a folder, a repeat without a number, an input without a height."""
    manifests = ["--manifests", str(tmp_path / "datasets")]
    with pytest.raises(JiejingError, match="NAME=FOLDER"):
        call("evaluate", "--source", "streets", *manifests)
    with pytest.raises(JiejingError, match="NAME=TIMES"):
        call("dataset", "gather", *both(sources, tmp_path), "--out", str(tmp_path / "x"), "--repeat", "streets=often")
    with pytest.raises(JiejingError, match="WIDTHxHEIGHT"):
        call("evaluate", *both(sources, tmp_path), "--input", "640")


def unmeasured(tmp_path: Path) -> Path:
    """The shipped model as it leaves the export: with a card's draft and without figures."""
    from vision.shipped import model_folder

    folder = tmp_path / "model"
    shutil.copytree(model_folder("street-n"), folder)
    (folder / "metrics.json").unlink()
    (folder / "CARD.md").write_text(f"# card\n{BEGIN}\n{END}\n")
    return folder


def test_publish_wants_pictures_to_measure_and_compare_on(tmp_path: Path) -> None:
    """A model that was never measured, or that would replace one, is refused without pictures."""
    folder, registry = unmeasured(tmp_path), tmp_path / "models"
    with pytest.raises(JiejingError, match="never measured"):
        call("publish", str(folder), "--registry", str(registry))
    (registry / "street-n").mkdir(parents=True)
    with pytest.raises(JiejingError, match="published already"):
        call("publish", str(folder), "--registry", str(registry))


def test_publish_measures_what_was_not_measured(sources: dict[str, str], tmp_path: Path) -> None:
    """Thresholds, metrics.json and the card's table are written before the model takes its place."""
    folder, registry = unmeasured(tmp_path), tmp_path / "models"
    registry.mkdir()
    assert call("publish", str(folder), *both(sources, tmp_path), "--registry", str(registry)).exit_code == 0
    published = registry / "street-n"
    assert json.loads((published / "metrics.json").read_text())["pictures"] == 2
    assert "| bin | 1 |" in (published / "CARD.md").read_text()


def test_a_card_is_drafted_from_the_run(sources: dict[str, str], tmp_path: Path) -> None:
    """It names each source with its licence and counts, how the run was made, and has a place for the figures."""
    from training.release.card import draft

    assert call("dataset", "gather", *both(sources, tmp_path), "--out", str(tmp_path / "data")).exit_code == 0
    settings = tmp_path / "config.json"
    settings.write_text(TrainConfig(weights=tmp_path / "w.safetensors", epochs=3).model_dump_json())
    text = draft("street-n", tmp_path / "data", settings)
    assert "| streets: drawn | 2 | waste | free |" in text
    assert "epochs 3" in text
    assert text.index(BEGIN) < text.index(END)
    assert "epochs" not in draft("street-n", tmp_path / "data", tmp_path / "none.json")


def test_a_run_is_recorded_with_what_it_saw(sources: dict[str, str], tmp_path: Path) -> None:
    """Each start adds seed, software and one checksum of all data; a changed label file changes it."""
    from training.run.record import write_record

    data, run = tmp_path / "data", tmp_path / "run"
    config = TrainConfig(weights=tmp_path / "w.safetensors", seed=7)
    with pytest.raises(JiejingError, match="dataset gather"):
        write_record(run, config, data)
    call("dataset", "gather", *both(sources, tmp_path), "--out", str(data))
    write_record(run, config, data)
    write_record(run, config, data)
    next((data / "labels").iterdir()).write_text("0 0.5 0.5 0.1 0.1\n")
    starts = json.loads(write_record(run, config, data).read_text())["starts"]
    assert [one["seed"] for one in starts] == [7, 7, 7]
    assert starts[0]["data_sha256"] == starts[1]["data_sha256"] != starts[2]["data_sha256"]
    assert starts[0]["environment"]["packages"]["numpy"]


def test_a_folder_may_hold_its_own_manifest(sources: dict[str, str], tmp_path: Path) -> None:
    """Where the repository keeps no manifest of that name, the folder's own describes it."""
    own = tmp_path / "streets" / "manifest.toml"
    own.write_text(MANIFEST.format(name="mine", knows="waste", first="bin"))
    out = tmp_path / "mine"
    call("dataset", "gather", "--source", f"mine={tmp_path / 'streets'}", "--out", str(out))
    assert json.loads((out / "data.json").read_text())["pictures"] == {"mine/train": 2, "mine/val": 1}
