"""The rules of the house: folders, import weight, file sizes, the built wheel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("numpy", "cv2", "openvino", "fastapi", "sqlalchemy", "torch", "scipy", "PIL")


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_models_and_datasets_are_data_only() -> None:
    """An importable `models` or `datasets` would hide other libraries' packages."""
    found = [path for folder in ("models", "datasets") for path in (ROOT / folder).rglob("*.py")]
    assert found == []


def test_help_is_light() -> None:
    """After `jiejing --help` no heavy library is loaded."""
    code = f"""
import sys, json, jiejing
try:
    jiejing.app(["--help"])
except SystemExit:
    pass
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""
    assert json.loads(python(code).splitlines()[-1]) == []


def test_every_listed_command_exists() -> None:
    """Each command in the table can be loaded and has its own help."""
    code = """
import jiejing
for name in jiejing.COMMANDS:
    print(name, jiejing._load(name).name is not None)
"""
    lines = python(code).splitlines()
    assert len(lines) >= 8
    assert all(line.endswith("True") for line in lines)


def test_version_is_printed() -> None:
    """`jiejing --version` states the version of pyproject.toml."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    done = subprocess.run([sys.executable, "-m", "jiejing", "--version"], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["jiejing", version]


def test_no_file_holds_two_subjects() -> None:
    """Beyond 500 lines a file has two subjects."""
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("vision", "training", "serve", "tests", "bench")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 500
    }
    assert long == {}


def test_constraints_name_no_host() -> None:
    """The lock files pin versions only: no index, no address, no local path."""
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"://|--index|--find-links|@ ", text)


@pytest.mark.slow
def test_the_built_wheel_detects_a_picture_elsewhere(tmp_path: Path) -> None:
    """The wheel, unpacked away from the checkout, holds the default model and detects a picture with it."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    assert not (site / "models").exists()
    assert not (site / "datasets").exists()
    picture = next((ROOT / "datasets" / "sample-patrol" / "pass-1").glob("*.jpg"))
    arguments = ["jiejing", "detect", str(picture), "--min-score", "0.001", "-o", str(tmp_path / "o.json")]
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import jiejing, vision; "
        f"assert vision.__file__.startswith({str(site)!r}); sys.argv = {arguments!r}; jiejing.main()"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = json.loads((tmp_path / "o.json").read_text())
    assert record["model"].startswith("street-n")
    assert record["detections"]
