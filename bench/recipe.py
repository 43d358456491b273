"""Our recipe against `yolo train` with stock settings: the same pictures, passes and input size, one evaluator.

    jiejing dataset gather --source street-waste=DIR --source facade-adverts=DIR2 --out runs/r/data
    python bench/recipe.py --data runs/r/data --source street-waste=DIR --source facade-adverts=DIR2 \\
        --weights yolo26n-coco.safetensors --run runs/r --epochs 8 --size 480 --view ../shared/data/vehicle-view

Both start from the same COCO weights and see equally many pictures; stock reads our labels without the regions that it
does not know. Without `--stock-data` both read one list, and the gain is that of the training alone. With it (the
sources gathered without teacher, windows or composites) stock reads the pictures as they were given, in as many passes
as make up the same number of pictures, rounded up: the gain is that of the whole recipe. Ours ends with its last
checkpoint, stock with its best one on the validation pictures, and both become model folders by the same export (ours:
the one-to-many head with suppression), both of which favours stock. Measured through the server's runtime: the mean
gain of mAP50-95 over garbage, bin, overflow, and the gain of AUC from the vehicle, each with the paired interval over
pictures that holds it nine times of ten. From the vehicle stock is measured a second time as `yolo predict` looks by
itself, at the size it was trained at ("auc_by_itself"). What is done is not done again, and a killed run goes on.
result.json and curves.svg lie in the run's folder. Needs the [train] extra.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.commands import named_sources
from training.evaluation.bootstrap import ROUNDS, draws, percentiles
from training.evaluation.compare import compare, mean_difference
from training.evaluation.evaluate import Looks, look
from training.sources import Picture, load
from vision.detecting.detector import Detector
from vision.taxonomy import CLASSES, WASTE

ROOT = Path(__file__).resolve().parents[1]
SCORE = ROOT.parent / "shared" / "benchmarks" / "score_vehicle.py"
SIDES = ("stock", "ours")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder made by `jiejing dataset gather`")
    parser.add_argument("--stock-data", type=Path, help="what stock trains on, where that is not --data")
    parser.add_argument("--source", action="append", required=True, help="NAME=FOLDER, for the validation pictures")
    parser.add_argument("--manifests", type=Path, default=ROOT / "datasets")
    parser.add_argument("--weights", type=Path, required=True, help="COCO start weights, safetensors")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, action="append", default=None, help="once for each run; 0 without it")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="name=value for ours")
    parser.add_argument("--input", action="append", default=None, dest="inputs", help="WIDTHxHEIGHT, for both exports")
    parser.add_argument("--view", type=Path, help="folder of vehicle-view: images/ and garbage.json")
    given = parser.parse_args()
    given.run, given.data, given.weights = given.run.resolve(), given.data.resolve(), given.weights.resolve()
    given.stock_data = (given.stock_data or given.data).resolve()
    given.inputs = given.inputs or ["640x640", "1280x736"]
    validation = [
        picture
        for described, folder in named_sources(given.source, given.manifests)
        for picture in load(described, folder)
        if picture.split != "train"
    ]
    results = [one_seed(given, seed, validation) for seed in given.seed or [0]]
    passes = {"ours": given.epochs, "stock": stock_passes(given)}
    listed = {"ours": listed_in(given.data), "stock": listed_in(given.stock_data)}
    result = {"passes": passes, "pictures_in_a_pass": listed, "size": given.size, "seeds": results}
    (given.run / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    draw_curves(given.run, [one["seed"] for one in results])
    for one in results:
        for figure in ("mAP50-95", "auc", "auc_by_itself"):
            if row := one[figure]:
                change = f"{row['a']:.4f} -> {row['b']:.4f}  {row['b'] - row['a']:+.4f}"
                sys.stdout.write(f"seed {one['seed']} {figure:13s} {change} [{row['low']:+.4f}, {row['high']:+.4f}]\n")


def one_seed(given: argparse.Namespace, seed: int, validation: list[Picture]) -> dict[str, Any]:
    """Train both, export both, measure both."""
    run = given.run / f"seed{seed}"
    train_ours(given, seed, run / "ours")
    train_stock(given, seed, run / "stock")
    ends = {
        "ours": run / "ours" / "train" / "weights" / "last.pt",
        "stock": run / "stock" / "train" / "weights" / "best.pt",
    }
    sizes = [word for size in given.inputs for word in ("--input", size)]
    looks: dict[str, Looks] = {}
    views: dict[str, dict[str, float]] = {}
    scores: dict[str, Any] = {}
    for side in SIDES:
        folder = run / side / "model"
        if not (folder / "model.toml").is_file():
            jiejing(
                "export", str(ends[side]), "--data", str(given.data), "--folder", str(folder), "--name", side, *sizes
            )
        looks[side] = look(Detector.load(folder), validation)
        if given.view is not None:
            views[side], scores[side] = view_of(folder, given.view, run / side / "view.json")
    shown = dict.fromkeys(CLASSES, 0.3)
    mean = mean_difference(looks["stock"], looks["ours"], WASTE)
    classes = [vars_of(row) for row in compare(looks["stock"], looks["ours"], shown, shown) if row.figure != "recall"]
    auc = auc_difference(given.view, views["stock"], views["ours"]) if views else None
    by_itself = None
    if given.view is not None:
        predict(ends["stock"], given.view, run / "stock" / "view-by-itself.json")
        seen, scores["stock by itself"] = measured(given.view, run / "stock" / "view-by-itself.json")
        by_itself = auc_difference(given.view, seen, views["ours"])
    result = {"seed": seed, "mAP50-95": vars_of(mean), "auc": auc, "auc_by_itself": by_itself}
    return result | {"score_vehicle": scores, "classes": classes}


def vars_of(row: Any) -> dict[str, Any]:
    """A frozen value with slots as a plain table."""
    return {name: getattr(row, name) for name in row.__slots__}


def jiejing(*words: str) -> None:
    """The real command line. Ends this script when it fails."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    if subprocess.run([sys.executable, "-m", "jiejing", *words], env=environment, check=False).returncode:
        sys.exit(f"jiejing {words[0]} failed")


def train_ours(given: argparse.Namespace, seed: int, run: Path) -> None:
    """`jiejing train`; a killed run goes on."""
    if (run / "done").is_file():
        return
    wanted = {"weights": given.weights, "epochs": given.epochs, "size": given.size, "batch": given.batch}
    wanted |= {"seed": seed, "device": given.device}
    settings = [f"{name}={value}" for name, value in wanted.items()] + given.settings
    jiejing("train", "--data", str(given.data), "--run", str(run), *(w for one in settings for w in ("--set", one)))
    (run / "done").touch()


def train_stock(given: argparse.Namespace, seed: int, run: Path) -> None:
    """`yolo detect train` with everything but data, passes, input size, batch, seed and device as it comes."""
    if (run / "done").is_file():
        return
    last = run / "train" / "weights" / "last.pt"
    words = ["detect", "train"]
    if last.is_file():
        words += [f"model={last}", "resume=True"]
    else:
        words += [f"model={start_checkpoint(given.weights, run)}", f"data={stock_data(given.stock_data, run)}"]
        words += [f"epochs={stock_passes(given)}", f"imgsz={given.size}", f"batch={given.batch}", f"seed={seed}"]
        words += [f"project={run}", "name=train", "exist_ok=True", "plots=False"]
        words += [f"device={given.device}", f"workers={0 if given.device == 'cpu' else 8}"]
    settings = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(run / "library")}
    (run / "library").mkdir(parents=True, exist_ok=True)
    yolo = "import sys; from ultralytics.cfg import entrypoint; sys.argv[0] = 'yolo'; entrypoint()"
    if subprocess.run([sys.executable, "-c", yolo, *words], env=os.environ | settings, cwd=run, check=False).returncode:
        sys.exit("yolo train failed")
    (run / "done").touch()


def listed_in(data: Path) -> int:
    """Pictures in one pass, repeats counted."""
    return len((data / "train.txt").read_text(encoding="utf-8").splitlines())


def stock_passes(given: argparse.Namespace) -> int:
    """So many passes that stock sees as many pictures as ours, or a few more."""
    return math.ceil(given.epochs * listed_in(given.data) / listed_in(given.stock_data))


def start_checkpoint(weights: Path, run: Path) -> Path:
    """The COCO weights as the library's own kind of checkpoint."""
    import torch

    from training.run.network import coco_model

    run.mkdir(parents=True, exist_ok=True)
    path = run / "yolo26n.pt"
    torch.save({"model": coco_model(weights), "train_args": {}}, path)
    return path


def stock_data(data: Path, run: Path) -> Path:
    """The same lists of pictures, with label files that hold classes only."""
    for kind in ("images", "labels"):
        (run / "data" / kind).mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        listed = [Path(line) for line in (data / f"{split}.txt").read_text(encoding="utf-8").splitlines()]
        for path in set(listed):
            link = run / "data" / "images" / path.name
            if not link.is_symlink():
                link.symlink_to(path.resolve())
            label = f"{path.stem}.txt"
            lines = (data / "labels" / label).read_text(encoding="utf-8").splitlines(keepends=True)
            known = "".join(line for line in lines if int(line.split()[0]) < len(CLASSES))
            (run / "data" / "labels" / label).write_text(known, encoding="utf-8")
        text = "".join(f"{run / 'data' / 'images' / path.name}\n" for path in listed)
        (run / "data" / f"{split}.txt").write_text(text, encoding="utf-8")
    table = run / "data" / "data.yaml"
    names = json.dumps(dict(enumerate(CLASSES)))
    lists = {split: run / "data" / f"{split}.txt" for split in ("train", "val")}
    table.write_text(f"train: {lists['train']}\nval: {lists['val']}\nnames: {names}\n", encoding="utf-8")
    return table


def view_of(folder: Path, view: Path, found: Path) -> tuple[dict[str, float], Any]:
    """The strongest garbage of each vehicle-view picture, and what the benchmark's own script says where it is."""
    if not found.is_file():
        words = ["--model", str(folder), "--min-score", "0.001", "--format", "coco", "-o", str(found)]
        jiejing("detect", str(view / "images"), *words)
    return measured(view, found)


def predict(checkpoint: Path, view: Path, found: Path) -> None:
    """The library's own prediction with its settings as they come but the least score, as a COCO results list."""
    if found.is_file():
        return
    from ultralytics import YOLO

    rows = []
    for seen in YOLO(str(checkpoint)).predict(str(view / "images"), stream=True, conf=0.001, verbose=False):
        for box, score, number in zip(seen.boxes.xyxy, seen.boxes.conf, seen.boxes.cls, strict=True):
            x0, y0, x1, y1 = (float(value) for value in box)
            row = {"image_id": Path(seen.path).stem, "category_id": int(number), "score": float(score)}
            rows.append(row | {"bbox": [x0, y0, x1 - x0, y1 - y0]})
    found.write_text(json.dumps(rows), encoding="utf-8")


def measured(view: Path, found: Path) -> tuple[dict[str, float], Any]:
    """As `view_of`, of a COCO results list that is there."""
    best = dict.fromkeys((Path(name).stem for name in truth_of(view)), 0.0)
    for row in json.loads(found.read_text(encoding="utf-8")):
        name = str(row["image_id"])
        if name in best and CLASSES[int(row["category_id"])] == "garbage":
            best[name] = max(best[name], float(row["score"]))
    if not SCORE.is_file():
        return best, None
    said = subprocess.run(
        [sys.executable, str(SCORE), str(view), str(found), ",".join(CLASSES)],
        capture_output=True,
        text=True,
        check=True,
    )
    return best, json.loads(said.stdout)


def truth_of(view: Path) -> dict[str, list[Any]]:
    """The boxes of each picture; none where the street is clean."""
    return dict(json.loads((view / "garbage.json").read_text(encoding="utf-8")))


def auc_difference(view: Path, stock: Mapping[str, float], ours: Mapping[str, float]) -> dict[str, float]:
    """The area under the curve of dirty against clean pictures for both, and the paired interval of the gain."""
    truth = {Path(name).stem: bool(rows) for name, rows in truth_of(view).items()}
    dirty = np.array(list(truth.values()))
    scores = [np.array([best[name] for name in truth]) for best in (stock, ours)]
    once = np.ones(len(dirty))
    gains = []
    for times in draws(len(dirty), ROUNDS):
        if times[dirty].sum() and times[~dirty].sum():
            gains.append(auc(scores[1], dirty, times) - auc(scores[0], dirty, times))
    low, high = percentiles(gains)
    return {"a": auc(scores[0], dirty, once), "b": auc(scores[1], dirty, once), "low": low, "high": high}


def auc(score: npt.NDArray[np.float64], dirty: npt.NDArray[np.bool_], times: npt.NDArray[np.float64]) -> float:
    """How often a dirty picture scores above a clean one, ties half; pictures count as often as `times` says."""
    above = score[dirty][:, None] - score[~dirty][None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    weight = times[dirty][:, None] * times[~dirty][None, :]
    return float((wins * weight).sum() / weight.sum())


def draw_curves(run: Path, seeds: list[int]) -> Path:
    """Validation mAP50-95 and training loss by pass, as the library reports them, for every run: curves.svg."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for side, colour in zip(SIDES, ("#7b8794", "#0f766e"), strict=True):
        for number, seed in enumerate(seeds):
            with (run / f"seed{seed}" / side / "train" / "results.csv").open(newline="", encoding="utf-8") as file:
                rows = [{name.strip(): value for name, value in row.items()} for row in csv.DictReader(file)]
            passes = [int(row["epoch"]) for row in rows]
            for panel, column in zip(panels, ("metrics/mAP50-95(B)", "train/cls_loss"), strict=True):
                label = side if number == 0 else None
                panel.plot(passes, [float(row[column]) for row in rows], color=colour, marker="o", ms=3, label=label)
                panel.set(xlabel="pass", title=column)
    panels[0].legend(frameon=False)
    figure.savefig(run / "curves.svg")
    pyplot.close(figure)
    return run / "curves.svg"


if __name__ == "__main__":
    main()
