"""Pictures of 12 megapixels to boxes: ours, stock ultralytics, and ultralytics with its own OpenVINO INT8 export.

    python -m bench.detect [--weights CHECKPOINT --python TRAIN_PYTHON] [--int8-data DATA.yaml] [--input 640]
                           [--rounds 5] [--pictures 50] [--labelled NAME=FOLDER] [--work DIR] [-o RESULT.json]

Interleaved: in each round every side sees the same files once, in a process of its own; medians of the per-round
ratios. The peers run as shipped (`predict(folder, stream=True)`, their own thread settings: all cores); ours has two
threads. The floor is measured in every round as well, in as many threads: reading each file and decoding it at an
eighth of its size in grey, hardly more than entropy decoding, and the network's convolution operations at the speed of
one large INT8 convolution. With `--labelled`, mAP50-95 of every side on the same labelled pictures. `--weights` is the
checkpoint that the shipped model was exported from; without it only ours is measured. `--int8-data` is the data set
file for the peer's INT8 export.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.interleave import Side, machine, middle, ratio, rounds, tell
from bench.material import draw_pictures


def convolution_ops(input_wh: tuple[int, int], folder: str | None = None) -> float:
    """Multiplications and additions of a model's (the shipped one's) convolutions for one picture."""
    import openvino as ov

    from vision.detecting.model import load_model
    from vision.shipped import model_folder

    model = load_model(model_folder(folder))
    network = ov.Core().read_model(model.xml, model.bin)
    network.reshape([1, 3, input_wh[1], input_wh[0]])
    total = 0.0
    for op in network.get_ops():
        if op.get_type_name() in ("Convolution", "GroupConvolution"):
            kernel = list(op.input(1).get_shape())
            per_value = np.prod(kernel[1:] if op.get_type_name() == "Convolution" else kernel[2:])
            total += 2.0 * float(np.prod(list(op.output(0).get_shape()))) * float(per_value)
    return total


def floor(taken: dict[str, list[dict[str, Any]]], count: int, operations: float) -> dict[str, float]:
    """The least CPU milliseconds that a picture can cost on this machine, and its share of what ours took, medians of
    the rounds; `operations` of the network's convolutions for one picture."""
    least = [row["entropy"] / count + operations / row["operations_per_s"] for row in taken["floor"]]
    shares = [low * count / row["cpu"] for low, row in zip(least, taken["ours"], strict=True)]
    return {
        "entropy_ms": round(1e3 * middle(taken["floor"], "entropy", count), 2),
        "convolution_gops": round(operations / 1e9, 2),
        "best_int8_convolution_gops_per_s": round(middle(taken["floor"], "operations_per_s") / 1e9),
        "floor_ms": round(1e3 * statistics.median(least), 2),
        "share": round(statistics.median(shares), 3),
        "shares": [round(share, 3) for share in shares],
    }


def export_int8(weights: Path, python: str, size: int, data: Path, work: Path) -> Path:
    """The peer's own INT8 export, `data` its data set file; kept in the work folder."""
    copy = work / f"peer-{size}.pt"
    made = work / f"peer-{size}_int8_openvino_model"
    if not made.is_dir():
        copy.write_bytes(weights.read_bytes())
        code = "import sys; from ultralytics import YOLO; a = sys.argv; YOLO(a[1]).export(format='openvino', int8=True,"
        subprocess.run([python, "-c", code + " imgsz=int(a[2]), data=a[3])", copy, str(size), data], check=True)
    return made


def accuracies(sides: dict[str, Side], labelled: str) -> dict[str, Any]:
    """Mean mAP50 and mAP50-95 over the classes of the labelled validation pictures, each side's boxes by our scorer."""
    from training.evaluation.evaluate import report
    from training.sources import load, read_manifest
    from vision.detections import Detections
    from vision.pictures.media import read_picture
    from vision.shipped import dataset_folder
    from vision.taxonomy import CLASSES

    name, _, folder = labelled.partition("=")
    source = read_manifest(dataset_folder("sample-patrol").parent / name / "manifest.toml")
    pictures = [picture for picture in load(source, Path(folder)) if picture.split != "train"]
    found = {}
    for side, running in sides.items():
        answers = running.do("accuracy", files=[str(picture.path) for picture in pictures])["boxes"]
        looks = []
        for picture, rows in zip(pictures, answers, strict=True):
            table = np.array(rows, float).reshape(-1, 6)
            table = table[(table[:, 2] > table[:, 0]) & (table[:, 3] > table[:, 1])]
            size_wh = read_picture(picture.path).size_wh
            ids = table[:, 5].astype(np.int64)
            looks.append((picture, Detections(table[:, :4], np.clip(table[:, 4], 0, 1), ids, size_wh)))
        found[side] = report(looks, dict.fromkeys(CLASSES, 0.3))["means"]
    return {"pictures": len(pictures), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="model folder of ours; the shipped one without it")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with the [train] extra, for the peers")
    parser.add_argument("--int8-data", type=Path, help="data set file for the peer's INT8 export")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--input", type=int, default=640)
    parser.add_argument("--labelled", help="NAME=FOLDER of a source with a manifest in datasets/")
    parser.add_argument("--work", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = args.work or Path(scratch)
        files = draw_pictures(work / "12mp", args.pictures)
        wide = (args.input, -(-args.input * 3 // 4 // 32) * 32)
        mine = {"input_wh": wide, "model": args.model}
        sides = {"ours": Side("ours", sys.executable, mine)}
        if args.weights:
            settings = {"weights": str(args.weights), "size": args.input}
            sides["predict"] = Side("ultralytics", args.python, settings)
        if args.weights and args.int8_data:
            made = export_int8(args.weights, args.python, args.input, args.int8_data, work)
            sides["predict_int8"] = Side("ultralytics", args.python, {"weights": str(made), "size": args.input})
        beside = {"floor": Side("floor", sys.executable, {})}
        taken = rounds({**sides, **beside}, args.rounds, "folder", path=str(work / "12mp"))
        count = len(files)
        result: dict[str, Any] = {
            "machine": machine(args.python),
            "threads": "ours: 2 workers of one thread each; peers: their own setting, all cores",
            "pictures": count,
            "megabytes_each": round(sum(file.stat().st_size for file in files) / count / 1e6, 2),
            "input": {"ours": wide, "peers": args.input},
            "rounds": args.rounds,
            "per_picture_s": {
                side: {key: middle(taken[side], key, count) for key in ("wall", "cpu")} for side in sides
            },
            "raw": {side: [[round(r[k], 3) for k in ("wall", "cpu")] for r in taken[side]] for side in sides},
        }
        for peer in list(sides)[1:]:
            result[f"times_faster_than_{peer}"] = {key: ratio(taken, peer, key) for key in ("wall", "cpu")}
        result["floor"] = floor(taken, count, convolution_ops(wide, args.model))
        if args.labelled:
            square = Side("ours", sys.executable, mine | {"input_wh": (args.input, args.input)})
            result["accuracy"] = accuracies({**sides, "ours": square}, args.labelled)
            square.close()
        for side in (*sides.values(), *beside.values()):
            side.close()
        tell(result, args.out)


if __name__ == "__main__":
    main()
