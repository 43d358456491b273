"""The fleet of compose.yaml and of the systemd units, started process by process with what they say, but without
containers: server, two workers, PostgreSQL, and a stand-in of the object store."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from serve.intake.client import LocalFile, Vehicle
from serve.store.tables import cases, patrols, workers
from tests.postgres_support import MISSING, cluster
from tests.process_support import ROOT, free_port, until_ready
from vision.tracks.track import read_track

SECRETS = {
    "DB_PASSWORD": "0123456789abcdef",
    "S3_KEY": "key",
    "S3_SECRET": "secret-of-the-store",
    "JIEJING_API_KEY": "0123456789abcdef0123456789abcdef",
    "JIEJING_ORIGINALS_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}
SAMPLE = ROOT / "datasets/sample-patrol"


def _filled(text: str) -> str:
    """What compose makes of `${NAME}`, `${NAME:-otherwise}` and `${NAME:?or stop}`."""
    return re.sub(r"\$\{(\w+)(?::([-?])([^}]*))?\}", lambda m: SECRETS.get(m[1]) or (m[3] if m[2] == "-" else ""), text)


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not on this machine")
def test_compose_takes_the_file(tmp_path: Path) -> None:
    """`docker-compose config` finds nothing wrong; without the secrets it stops and says where to set them."""
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    command = ["docker-compose", "--file", str(tmp_path / "compose.yaml"), "config", "--quiet"]
    path = {"PATH": os.environ["PATH"]}
    for given, expected in ((SECRETS, 0), ({}, 1)):
        done = subprocess.run(command, env={**path, **given}, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stderr
    assert "set it in .env" in done.stderr


def test_the_units_run_what_compose_runs() -> None:
    """The same commands for server and worker, and settings from one file."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    for role in ("server", "worker"):
        unit = (ROOT / f"deploy/jiejing-{role}.service").read_text("utf-8")
        assert f"ExecStart=/opt/jiejing/bin/jiejing {' '.join(services[role]['command'])}\n" in unit
        assert "EnvironmentFile=-/etc/jiejing/jiejing.env\n" in unit


@contextmanager
def _store() -> Iterator[str]:
    """The object store's address; its bucket is there, as deploy/store.sh makes it."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install -e .[dev]")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    _bucket(f"http://{host}:{port}").create_bucket(Bucket="jiejing")
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _bucket(url: str) -> Any:
    import boto3

    known = {"aws_access_key_id": SECRETS["S3_KEY"], "aws_secret_access_key": SECRETS["S3_SECRET"]}
    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **known)


@pytest.mark.slow
@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_the_fleet_of_compose_takes_patrols_and_makes_cases(tmp_path: Path) -> None:
    """With compose's own variables and commands: two patrols with real pictures go in by the server's key, both workers
    are there, cases with pictures come out, originals lie sealed in the store, `doctor` is content, and SIGTERM ends
    every process within its grace."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
    with ExitStack() as stack:
        postgres = stack.enter_context(cluster())
        postgres.run("CREATE ROLE jiejing SUPERUSER LOGIN")
        postgres.run("CREATE DATABASE jiejing")
        postgres.run((ROOT / "deploy/jobs.sql").read_text("utf-8"))
        store = stack.enter_context(_store())
        port = free_port()
        # The names that compose's network would resolve, and the port that it would publish.
        here = {"@database/": f"@127.0.0.1:{postgres.port}/", "http://store:8333": store}

        def variables(role: str, data: Path) -> dict[str, str]:
            said = {name: _filled(str(value)) for name, value in services[role]["environment"].items()}
            for name, address in here.items():
                said = {key: value.replace(name, address) for key, value in said.items()}
            ours = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            return {**ours, "PYTHONPATH": str(ROOT), **said, "JIEJING_DATA": str(data), "JIEJING_PORT": str(port)}

        def start(role: str, number: int) -> subprocess.Popen[bytes]:
            data = tmp_path / f"{role}-{number}"
            data.mkdir()
            command = [sys.executable, "-m", "jiejing", *services[role]["command"]]
            log = stack.enter_context((tmp_path / f"{role}-{number}.log").open("wb"))
            process = subprocess.Popen(command, env=variables(role, data), cwd=data, stdout=log, stderr=log)
            stack.callback(process.kill)
            return process

        processes = [start("server", 1)]
        until_ready(processes[0], port)
        processes += [start("worker", number) for number in range(services["worker"]["deploy"]["replicas"])]
        track = SAMPLE / "pass-1/track.csv"
        started_at = read_track(track).start
        assert started_at is not None
        files = [LocalFile(path, "media") for path in sorted((SAMPLE / "pass-1").glob("*.jpg"))[:6]]
        files.append(LocalFile(track, "track"))
        camera = json.loads((SAMPLE / "camera.json").read_text("utf-8"))
        url = f"http://127.0.0.1:{port}"
        vehicle = Vehicle(url, "v1", api_key=SECRETS["JIEJING_API_KEY"], patience_s=60)
        ids = [vehicle.upload(started_at + timedelta(seconds=one), files, camera=camera) for one in range(2)]
        reports = [vehicle.wait(one) for one in ids]
        assert [one["state"] for one in reports] == ["done", "done"], reports
        found = vehicle.cases()
        assert found
        assert any(case["properties"]["evidence"] for case in found)
        engine = sa.create_engine(variables("server", tmp_path)["JIEJING_DATABASE_URL"])
        with engine.connect() as books:
            assert books.scalar(sa.select(sa.func.count()).select_from(workers)) == 2
            assert books.scalar(sa.select(sa.func.count()).select_from(cases)) == len(found)
            assert books.scalar(sa.select(sa.func.count()).select_from(patrols)) == 2
        engine.dispose()
        bucket = _bucket(store)
        stored = {one["Key"]: one["Size"] for one in bucket.list_objects_v2(Bucket="jiejing")["Contents"]}
        originals = [name for name in stored if name.startswith("originals/")]
        assert len(originals) == 2 * len(files)
        assert any(name.startswith("evidence/") for name in stored)
        head = bucket.get_object(Bucket="jiejing", Key=originals[0])["Body"].read(8)
        assert head == b"JJSEAL1\n"
        assert not [path for data in tmp_path.glob("*/files") for path in data.rglob("*") if path.is_file()]
        doctor = [sys.executable, "-m", "jiejing", "doctor", "--json"]
        told = subprocess.run(doctor, env=variables("server", tmp_path / "server-1"), capture_output=True, text=True)
        assert told.returncode == 0, told.stdout + told.stderr
        began = time.monotonic()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert {process.wait(timeout=30) for process in processes} <= {0, -signal.SIGTERM}
        assert time.monotonic() - began < 30
    logs = "".join(path.read_text("utf-8") for path in tmp_path.glob("*.log"))
    assert not [name for name, secret in SECRETS.items() if secret in logs and name != "S3_KEY"]
