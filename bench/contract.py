"""Hold a running server against its own OpenAPI document: no answer of class 5xx, no answer that the document does not
describe. Each request that is made up is sent by every role. `python bench/contract.py --requests 100000`, and with
`--postgres` the same on PostgreSQL; prints what it found as JSON."""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import json
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from serve.access import Role
from serve.app import create_app
from serve.doors import guard
from serve.settings import Settings
from tests.access_support import bearer
from tests.postgres_support import cluster
from tests.serve_support import InlineJobs, manifest, no_path, picture, run_fake, thing

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CITY = "320200"
TUS = {"Tus-Resumable": "1.0.0"}
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")


class Server:
    """A real server in a thread, with a patrol in it and a key for each role."""

    def __init__(self, folder: Path, database_url: str | None) -> None:
        about: dict[str, Any] = {
            "require_keys": True,
            "requests_per_minute": 10_000_000,
            "jurisdiction": CITY,
            "database_url": database_url,
        }
        self.app = create_app(
            Settings(data=folder, _env_file=None, **about),
            runner=run_fake,
            path_reader=no_path,
            jobs=lambda _settings, work: InlineJobs(work),
        )
        self._server = uvicorn.Server(uvicorn.Config(self.app, port=0, log_level="error"))
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Server:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self.keys = {role: self._key(role) for role in Role}
        self.known = self._fill(bearer(self.keys[Role.ADMIN]))
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _key(self, role: Role) -> str:
        from datetime import UTC, datetime

        from serve.store import keys

        with self.app.state.context.database.writing(CITY) as desk:
            return keys.create(desk, role.value, role, datetime.now(UTC))[1]

    def _fill(self, headers: dict[str, str]) -> dict[str, str]:
        """Send a patrol; gives the ids that paths can name."""
        files = {"a.jpg": picture(thing(), name="a")}
        said = manifest(files)
        patrol = requests.post(f"{self.url}/v1/patrols", json=said, headers=headers, timeout=60).json()["id"]
        sha256 = said["files"][0]["sha256"]
        put = f"{self.url}/v1/patrols/{patrol}/files/{sha256}"
        requests.put(put, data=files["a.jpg"], headers=headers, timeout=60)
        case = requests.get(f"{self.url}/v1/cases", headers=headers, timeout=60).json()["features"][0]
        evidence = case["properties"]["evidence"][0]["url"].split("/")[-1].removesuffix(".jpg")
        more = manifest({"b.jpg": b"12345"}, vehicle="v2")
        second = requests.post(f"{self.url}/v1/patrols", json=more, headers=headers, timeout=60).json()["id"]
        about = {"patrol": second, "sha256": more["files"][0]["sha256"]}
        metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in about.items())
        asked = {**headers, **TUS, "Upload-Length": "5", "Upload-Metadata": metadata}
        upload = requests.post(f"{self.url}/v1/uploads", headers=asked, timeout=60).headers["Location"].split("/")[-1]
        return {
            "patrol_id": patrol,
            "sha256": sha256,
            "case_id": case["id"],
            "picture_id": evidence,
            "upload_id": upload,
        }


def run(total: int, start: int = 1, *, progress: bool = False, database_url: str | None = None) -> dict[str, Any]:
    """Spread `total` requests over operations, roles, and valid and invalid data; gives counts and findings."""
    warnings.simplefilter("ignore")
    guard._WRONG_PER_MINUTE = 1e7
    found: dict[str, str] = {}
    statuses: collections.Counter[int] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), database_url) as server:
        schema = schemathesis.openapi.from_dict(server.app.openapi())
        operations = [one.ok() for one in schema.get_all_operations()]
        each = max(1, total // (len(operations) * len(Role) * 2))
        session = requests.Session()
        for operation in operations:
            # Deleting and reprocessing what the other requests are about would leave nothing to ask for.
            named = operation.method.upper() in ("GET", "HEAD", "PUT", "PATCH", "OPTIONS")
            for mode in GenerationMode:
                ask(server, session, operation, mode, each, named, start, found, statuses)
            if progress:
                sys.stderr.write(f"{operation.label}: {sum(statuses.values())} so far, {len(found)} findings\n")
    return {
        "requests": sum(statuses.values()),
        "operations": len(operations),
        "roles": len(Role),
        "statuses": dict(sorted(statuses.items())),
        "findings": [{"where": where, "what": what} for where, what in found.items()],
    }


def ask(
    server: Server,
    session: requests.Session,
    operation: Any,
    mode: GenerationMode,
    count: int,
    named: bool,
    start: int,
    found: dict[str, str],
    statuses: collections.Counter[int],
) -> None:
    """So many made-up requests of every role to one operation; those that may name something real half of the time."""
    wanted = [name for name in server.known if f"{{{name}}}" in operation.path]
    numbers = iter(range(count + 1))

    @seed(start)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def hold(case: Any) -> None:
        if named and next(numbers, 0) % 2:
            case.path_parameters = {**(case.path_parameters or {}), **{name: server.known[name] for name in wanted}}
        for role in Role:
            headers = bearer(server.keys[role]) | (TUS if operation.path.startswith("/v1/uploads") else {})
            response = case.call(base_url=server.url, session=session, headers=headers, timeout=60)
            statuses[response.status_code] += 1
            try:
                case.validate_response(response, checks=CHECKS)
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001, whatever it is goes into the report
                key = f"{operation.method.upper()} {operation.path} {response.status_code}"
                found.setdefault(key, f"{role.value}: {str(error)[:600]}")

    try:
        hold()
    except Exception as error:  # noqa: BLE001, an operation that cannot be asked at all is a finding too
        if "Unsatisfiable" not in type(error).__name__ and "negative" not in str(error).lower():
            found.setdefault(f"{operation.method.upper()} {operation.path} {mode.value}", repr(error)[:600])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="On a PostgreSQL of its own.")
    given_ = parser.parse_args()
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(cluster("books")) if given_.postgres else None
        url = database.url("books") if database else None
        found = run(given_.requests, given_.seed, progress=True, database_url=url)
    sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    sys.exit(1 if found["findings"] else 0)


if __name__ == "__main__":
    main()
