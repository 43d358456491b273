"""Do operators' decisions make the detector better? A server, a patrol, an operator, a short run, and the gate.

    python bench/learn_from_decisions.py --pictures ../shared/data/street-waste --run runs/learn

Training pictures become a patrol (a stop every 60 m) that a real server process works through with the published model.
The operator is their labels: each evidence box is confirmed, rejected, moved or named anew through `POST /v1/feedback`.
Then `jiejing dataset import --from-server`, a short run with the backbone frozen that also sees some ordinary training
pictures, `jiejing export`, `jiejing publish` against a copy of the published model on the validation pictures, and the
agreement of both models with the decisions. Figures go to the run's result.json. Needs the [train] extra.
The run's own validation sees every fifth validation picture only: it is for the curve, the gate sees all.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from serve.intake.client import LocalFile, Vehicle
from training.evaluation.decided import Decision, agreements, decided_difference, read_decisions
from training.sources import Picture, load, read_manifest
from vision import boxes
from vision.detecting.detector import Detector
from vision.shipped import model_folder
from vision.taxonomy import WASTE

ROOT = Path(__file__).resolve().parents[1]
LONGITUDE_DEG, LATITUDE_DEG, METRES_PER_DEGREE = 120.3, 31.57, 111_320.0
STOP_S, SPEED_MPS = 10, 6.0
# With an assumed lens most single views are placed too badly to be kept.
CAMERA = {"width": 640, "height": 640, "fx": 462, "fy": 462, "cx": 319.5, "cy": 319.5, "height_above_ground_m": 1.6}
# What an operator sees at a glance: the box is right, it is nearly right, it is on nothing. In between nobody decides.
RIGHT_IOU, NEAR_IOU, NOTHING_IOU = 0.5, 0.25, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="the folder of street-waste")
    parser.add_argument("--manifest", type=Path, default=ROOT / "datasets" / "street-waste" / "manifest.toml")
    parser.add_argument("--run", type=Path, required=True, help="run folder; what is done in it is not done again")
    parser.add_argument("--model", default="street-n", help="the published model: folder or shipped name")
    parser.add_argument("--stops", type=int, default=320, help="pictures on the patrol")
    parser.add_argument("--others", type=int, default=120, help="confirmed, and as many ordinary pictures in a pass")
    parser.add_argument("--repeat", type=int, default=5, help="how often a corrected picture is shown in a pass")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="name=value for the run")
    parser.add_argument("--input", action="append", default=[], dest="inputs", help="input sizes of the export")
    given = parser.parse_args()
    run = given.run.resolve()
    run.mkdir(parents=True, exist_ok=True)
    source = read_manifest(given.manifest)
    training = [one for one in load(source, given.pictures) if one.split == "train"]
    random.Random(0).shuffle(training)
    stops = training[: given.stops]
    before = model_folder(given.model)
    if not (run / "operator.json").is_file():
        said = drive_and_decide(run, before, stops)
        (run / "operator.json").write_text(json.dumps(said), encoding="utf-8")
    said = json.loads((run / "operator.json").read_text(encoding="utf-8"))

    sources = ["--source", f"{source.name}={given.pictures}", "--manifests", str(given.manifest.parents[1])]
    data = run / "data"
    if not (run / "seen.json").is_file():
        jiejing("dataset", "gather", *sources, "--source", f"decided={run / 'decided'}", "--out", str(data))
        corrected = {one.picture for one in read_decisions(run / "decided") if one.verdict != "confirm"}
        seen = thin(data / "train.txt", corrected, {one.path.name for one in stops}, given.others, given.repeat)
        (run / "seen.json").write_text(json.dumps(seen), encoding="utf-8")
    checkpoint = run / "train" / "weights" / "last.pt"
    if not (run / "trained").is_file():
        wanted = [f"weights={before}", "freeze=22", "epochs=1", "batch=8", "warmup_epochs=1", "rate=1e-4", "size=640"]
        wanted += [
            "mosaic=0",
            "camera_faults=0",
            "scale=0.2",
            "close_mosaic=0",
            "cache=false",
            "threads=1",
            *given.settings,
        ]
        jiejing("train", "--data", str(data), "--run", str(run), *(word for one in wanted for word in ("--set", one)))
        (run / "trained").touch()
    if not (run / "model" / "model.toml").is_file():
        sizes = given.inputs or ["640x640", "960x736", "1280x736"]
        words = [word for size in sizes for word in ("--input", size)]
        jiejing("export", str(checkpoint), "--data", str(data), "--folder", str(run / "model"), *words)

    registry = run / "registry"
    shutil.rmtree(registry, ignore_errors=True)
    shutil.copytree(before, registry / "street-n")
    published = jiejing("publish", str(run / "model"), *sources, "--registry", str(registry), may_fail=True)
    decisions = read_decisions(run / "decided")
    agreed = [agreements(Detector.load(folder), run / "decided", decisions) for folder in (before, run / "model")]
    result = {
        **said,
        "pictures_in_a_pass": json.loads((run / "seen.json").read_text(encoding="utf-8")),
        "agreement": by_verdict(decisions, agreed),
        "published": published.returncode == 0,
        "gate": [line for line in (published.stdout + published.stderr).splitlines() if "->" in line or ": " in line],
    }
    (run / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print_result(result)


def drive_and_decide(run: Path, model: Path, stops: list[Picture]) -> dict[str, Any]:
    """A patrol through a server process, every case decided, the decisions imported into `run`/decided."""
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    for leftover in ("patrol", "server", "decided"):
        shutil.rmtree(run / leftover, ignore_errors=True)
    patrol = write_patrol(stops, run / "patrol", first)
    with server(run / "server", model) as address:
        vehicle = Vehicle(address, "patrol-1")
        report = vehicle.wait(vehicle.upload(first, patrol, camera=CAMERA))
        cases = vehicle.cases()
        verdicts = decide_all(address, cases, stops, first)
        say(f"{report['state']}: {report.get('sightings')} sightings, {len(cases)} cases, decided {dict(verdicts)}")
        jiejing("dataset", "import", "--from-server", address, "-o", str(run / "decided"), "--name", "decided")
    counts = {"stops": len(stops), "sightings": report.get("sightings"), "cases": len(cases)}
    return counts | {"verdicts": dict(verdicts)}


def jiejing(*words: str, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
    """The real command line; the end of what it prints is passed on. Ends this script when it fails."""
    say("$ jiejing " + " ".join(words))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-m", "jiejing", *words], env=environment, capture_output=True, text=True, check=False
    )
    say("\n".join(done.stdout.splitlines()[-9:]))
    if done.returncode and not may_fail:
        sys.exit(f"jiejing {words[0]} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_patrol(stops: list[Picture], folder: Path, first: datetime) -> list[LocalFile]:
    """The pictures with EXIF time, one stop after the other eastwards, and the track with one fix a second."""
    folder.mkdir()
    files = []
    for number, stop in enumerate(stops):
        picture, exif = Image.open(stop.path).convert("RGB"), Image.Exif()
        times = exif.get_ifd(0x8769)
        times[0x9003] = (first + timedelta(seconds=STOP_S * (number + 1))).strftime("%Y:%m:%d %H:%M:%S")
        times[0x9011], times[0x9291] = "+00:00", "000"
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=95, exif=exif)
        files.append(LocalFile(folder / f"{number:04d}.jpg", "media"))
        files[-1].path.write_bytes(out.getvalue())
    lines = ["time_utc,latitude_deg,longitude_deg,heading_deg,speed_mps,accuracy_m"]
    for second in range(STOP_S * (len(stops) + 2)):
        east_deg = second * SPEED_MPS / METRES_PER_DEGREE / float(np.cos(np.radians(LATITUDE_DEG)))
        at = (first + timedelta(seconds=second)).isoformat()
        lines.append(f"{at},{LATITUDE_DEG},{LONGITUDE_DEG + east_deg:.8f},90,{SPEED_MPS},1.5")
    (folder / "track.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [*files, LocalFile(folder / "track.csv", "track")]


@contextmanager
def server(folder: Path, model: Path) -> Iterator[str]:
    """A server process of its own; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    # These stops are single pictures, 60 m apart, and what is doubtful is what an operator's word is worth most for;
    # the shipped table wants a thing in more than one frame, well placed, and sure.
    table = folder.parent / "matters.toml"
    shipped = (ROOT / "serve" / "cases" / "matters.toml").read_text(encoding="utf-8")
    looser = re.sub(r"min_frames = \d+", "min_frames = 1\nmax_radius_m = 20.0", shipped)
    table.write_text(re.sub(r"min_score = [.\d]+", "min_score = 0.2", looser), encoding="utf-8")
    words = ["serve", "--port", str(port), "--data", str(folder), "--model", str(model)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    environment |= {"JIEJING_MATTERS_FILE": str(table)}
    log = folder.parent / "server.log"
    with log.open("ab") as said:
        process = subprocess.Popen([sys.executable, "-m", "jiejing", *words], env=environment, stderr=said)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                sys.exit(f"the server ended: see {log}")
            try:
                urllib.request.urlopen(f"{address}/health/ready", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def decide_all(address: str, cases: list[dict[str, Any]], stops: list[Picture], first: datetime) -> Counter[str]:
    """Decide every evidence box of waste by the labels of the picture it was taken from; how often which verdict."""
    counts: Counter[str] = Counter()
    for case in cases:
        name = case["properties"]["class"]
        for shown in case["properties"]["evidence"]:
            taken = datetime.fromisoformat(shown["taken_at"])
            stop = stops[round((taken - first).total_seconds() / STOP_S) - 1]
            verdict = judge(name, shown, stop) if name in WASTE else None
            if verdict is None:
                counts["undecided"] += 1
                continue
            body = {"case": case["id"], "evidence": Path(shown["url"]).stem, "by": "labels"} | verdict
            if post(f"{address}/v1/feedback", body):
                counts[verdict["verdict"]] += 1
    return counts


def judge(name: str, shown: dict[str, Any], stop: Picture) -> dict[str, Any] | None:
    """What the labels of a picture say about the case's box in it; None where nobody could tell at a glance."""
    with Image.open(stop.path) as picture:
        scale = np.array([*picture.size, *picture.size], dtype=np.float64)
    labels = [label for label in stop.labels if label.name in WASTE]
    box = np.array([shown["boxes"][0]["box"]], dtype=np.float64)
    if len(shown["boxes"]) != 1:
        return None
    true = np.array([label.box for label in labels], dtype=np.float64).reshape(-1, 4) * scale
    overlap = boxes.iou(box, true)[0] if len(true) else np.zeros(0)
    same = np.array([label.name == name for label in labels], dtype=bool)
    if (overlap[same] >= RIGHT_IOU).any():
        return {"verdict": "confirm"}
    if (overlap[~same] >= RIGHT_IOU).any():
        return {"verdict": "reclass", "class": labels[int(np.argmax(np.where(same, 0, overlap)))].name}
    if (overlap[same] >= NEAR_IOU).any():
        return {"verdict": "move", "box": true[int(np.argmax(np.where(same, overlap, 0)))].tolist()}
    return {"verdict": "reject"} if not (overlap >= NOTHING_IOU).any() else None


def post(url: str, body: dict[str, Any]) -> bool:
    """Send one decision; whether it was taken."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.status == 201)
    except urllib.error.HTTPError as error:
        say("refused: " + error.read().decode()[:300])
        return False


def thin(listed: Path, corrected: set[str], decided_from: set[str], others: int, repeat: int) -> dict[str, int]:
    """Leave in a list what was corrected, `repeat` times, and `others` each of confirmed and ordinary pictures.

    Pictures that were decided about are seen through the decisions alone.
    """
    lines = listed.read_text(encoding="utf-8").splitlines()
    decided = {line: Path(line).name.removeprefix("decided__") for line in lines if "decided__" in line}
    wrong = [line for line, name in decided.items() if name in corrected]
    right = [line for line, name in decided.items() if name not in corrected]
    rest = [line for line in lines if line not in decided and Path(line).name.split("__")[1] not in decided_from]
    draw = random.Random(1)
    kept = [draw.sample(one, min(others, len(one))) for one in (right, rest)]
    listed.write_text("".join(f"{line}\n" for line in [*wrong * repeat, *kept[0], *kept[1]]), encoding="utf-8")
    held = listed.with_name("val.txt")
    held.write_text("".join(held.read_text(encoding="utf-8").splitlines(keepends=True)[::5]), encoding="utf-8")
    return {"corrected": len(wrong), "times": repeat, "confirmed": len(kept[0]), "ordinary": len(kept[1])}


def by_verdict(decisions: list[Decision], agreed: list[list[float]]) -> dict[str, Any]:
    """The mean agreement before and after with its interval, over all decisions and over each kind of them."""
    found = {}
    for verdict in ("all", *sorted({one.verdict for one in decisions})):
        chosen = [i for i, one in enumerate(decisions) if verdict in ("all", one.verdict)]
        a, b = ([values[i] for i in chosen] for values in agreed)
        row = decided_difference([decisions[i] for i in chosen], a, b)
        found[verdict] = {"decisions": row.boxes, "before": row.a, "after": row.b, "low": row.low, "high": row.high}
    return found


def print_result(result: dict[str, Any]) -> None:
    """The figures for a person."""
    say(f"{result['stops']} stops, {result['cases']} cases, verdicts {result['verdicts']}")
    for verdict, row in result["agreement"].items():
        change = f"{row['before']:.3f} -> {row['after']:.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        say(f"agreement, {verdict:8s} {row['decisions']:4d} boxes  {change}")
    say("\n  ".join(["published" if result["published"] else "refused", *result["gate"]]))


if __name__ == "__main__":
    main()
