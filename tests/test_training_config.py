"""The typed configuration of a run, and the teacher's labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.run.config import TrainConfig, read_config
from training.run.several import command, gpus, is_worker
from training.sources import Label
from training.teacher import groups_of, rows_of, teach, to_labels
from vision.detections import Detections

COCO = ("person", "car", "bicycle", "dog")


def test_file_and_settings_become_one_configuration(tmp_path: Path) -> None:
    """A setting on the command line wins over the file, the file over the defaults."""
    path = tmp_path / "run.toml"
    path.write_text('weights = "start.safetensors"\nepochs = 3\nsize = 320\n')
    config = read_config(path, ["epochs=5", "rate=0.001"])
    assert (config.epochs, config.size, config.rate, config.batch) == (5, 320, 0.001, 16)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["epochs=0"], "epochs"),
        (["size=100"], "size"),
        (["colour=red"], "colour"),
        (["rate=fast"], "rate"),
        (["epochs"], "no value"),
        ([], "weights"),
    ],
)
def test_wrong_settings_name_the_field(settings: list[str], named: str) -> None:
    """Out of bounds, unknown, not a number, without a value, missing: the message names the field."""
    given = settings if named == "weights" else ["weights=w.pt", *settings]
    with pytest.raises(TrainingError, match=named):
        read_config(None, given)


def test_unreadable_file_is_a_users_error(tmp_path: Path) -> None:
    """A missing file and broken TOML are told apart from a crash."""
    broken = tmp_path / "broken.toml"
    broken.write_text("epochs = = 3")
    for path in (broken, tmp_path / "none.toml"):
        with pytest.raises(TrainingError, match=path.name):
            read_config(path)


def test_a_cpu_run_loads_pictures_itself() -> None:
    """On a CPU there are no loader processes and no half precision switch; a GPU gets both."""
    on_cpu = TrainConfig(weights=Path("w")).overrides()
    on_gpu = TrainConfig(weights=Path("w"), device="0").overrides()
    assert (on_cpu["workers"], on_cpu["amp"]) == (0, False)
    assert (on_gpu["workers"], on_gpu["amp"]) == (8, True)


def seen() -> Detections:
    """A sure person, a doubtful car, a bicycle, a dog, and a person too weak to mention, in 100×50 pixels."""
    return Detections.of(
        [
            ("person", 0.9, (10, 5, 20, 45)),
            ("car", 0.2, (50, 20, 90, 40)),
            ("bicycle", 0.8, (30, 20, 40, 40)),
            ("dog", 0.9, (0, 0, 10, 10)),
            ("person", 0.05, (60, 0, 70, 50)),
        ],
        (100, 50),
        class_names=COCO,
    )


def test_the_teacher_labels_what_it_is_sure_of() -> None:
    """Sure ones become labels, doubtful ones and bicycles regions of unknown privates; dogs and whispers nothing."""
    labels = to_labels(rows_of(seen()))
    assert [label.name for label in labels] == ["person", "private", "private"]
    assert labels[0] == Label("person", (0.1, 0.1, 0.2, 0.9))


def test_the_teacher_is_asked_once(tmp_path: Path) -> None:
    """Answers are kept in the cache file and not asked for again."""
    asked: list[Path] = []

    def detect(path: Path) -> Detections:
        asked.append(path)
        return seen()

    cache = tmp_path / "taught" / "x.json"
    first = teach([Path("a.jpg"), Path("b.jpg")], detect, cache)
    again = teach([Path("a.jpg"), Path("b.jpg")], detect, cache)
    assert len(asked) == 2
    assert first == again
    assert set(json.loads(cache.read_text())) == {"a.jpg", "b.jpg"}


def test_a_street_model_teaches_every_group_and_only_what_is_wanted() -> None:
    """Our own class names stay; of a teacher's answers only the wanted groups count, its doubts as unknown places."""
    found = Detections.of(
        [("bin", 0.8, (0, 0, 10, 10)), ("garbage", 0.2, (20, 0, 30, 10)), ("person", 0.9, (50, 0, 60, 40))], (100, 50)
    )
    assert groups_of(found.class_names) == {"waste", "structures", "adverts", "private"}
    assert groups_of(COCO) == {"private"}
    assert [label.name for label in to_labels(rows_of(found), {"waste"})] == ["bin", "waste"]


def test_several_gpus_get_a_process_each(tmp_path: Path) -> None:
    """The launcher starts the same command with the same configuration once per GPU; an uneven batch is refused."""
    config = read_config(None, [f"weights={tmp_path / 'w.pt'}", "device=0,1", "batch=16", "freeze=3", "cache=false"])
    words = command(config, tmp_path / "data", tmp_path / "run")
    at = words.index("torch.distributed.run")
    assert words[at + 1 : at + 4] == ["--standalone", "--nproc_per_node", "2"]
    again = words[words.index("jiejing") + 1 :]
    assert again[:5] == ["train", "--data", str(tmp_path / "data"), "--run", str(tmp_path / "run")]
    assert read_config(None, [word for word in again[5:] if word != "--set"]) == config
    with pytest.raises(TrainingError, match="multiple of 3"):
        command(config.model_copy(update={"device": "0,1,2"}), tmp_path, tmp_path)
    assert gpus(config.model_copy(update={"device": "cpu"})) == 0


def test_a_worker_knows_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a process that the launcher started trains; the first one starts the launcher."""
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert not is_worker()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert is_worker()
