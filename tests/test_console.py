"""The page with the map, in a real browser, and the pages that need none."""

from __future__ import annotations

import io
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from serve.app import create_app
from serve.console import build
from serve.console.routes import router
from serve.settings import Settings
from tests.serve_support import (
    LAT,
    START,
    TRACK,
    InlineJobs,
    days,
    east,
    no_path,
    picture,
    run_fake,
    running,
    send,
    thing,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
KEY = "a-key-of-sixteen-and-more"
# A browser that draws maps without a graphics card, on a machine that is busy with other things.
_PATIENCE_MS = 180_000
expect.set_options(timeout=_PATIENCE_MS)
GARBAGE, SHED = (224, 138, 0), (47, 125, 225)  # the colours of the classes in serve/console/wording.py

needs_build = pytest.mark.skipif(not build.is_built(), reason="run python -m serve.console.build first")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")


def _streets() -> dict[str, Any]:
    ring = [[east(x), LAT + y / 111_320] for x, y in [(-20, -5), (120, -5), (120, 5), (-20, 5), (-20, -5)]]
    road = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"kind": "road"}}
    return {"type": "FeatureCollection", "features": [road]}


def _fill(client: Any) -> None:
    first = {
        "a.jpg": picture(thing(), thing("shed", 40, score=0.9), thing("bin", 60), name="a"),
        "b.jpg": picture(thing("overflow", 90, score=0.5), look=(-20, 120), name="b"),
        "track.csv": TRACK,
    }
    send(client, first)
    send(client, {"c.jpg": picture(thing(at_m=0.3), look=(-20, 120), name="c")}, started_at=START + days(1))


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """A real server in a thread, with two passes in it; gives its address."""
    (folder / "streets.geojson").write_text(json.dumps(_streets()), "utf-8")
    settings = Settings(data=folder / "data", base_map=folder / "streets.geojson", place_name="梁溪区", _env_file=None)
    app = create_app(settings, runner=run_fake, path_reader=no_path, jobs=lambda _settings, work: InlineJobs(work))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.02)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx2.Client(base_url=url) as client:
            _fill(client)
        yield url
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The console, loaded in headless Chromium; any fault on the page fails the test that meets it."""
    faults: list[str] = []
    with _served(tmp_path_factory.mktemp("console")) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"],
        )
        page = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light").new_page()
        page.set_default_timeout(_PATIENCE_MS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.on(
            "request", lambda asked: None if asked.url.startswith((url, "blob:", "data:")) else faults.append(asked.url)
        )
        page.goto(url)
        page.wait_for_selector("body[data-ready]", timeout=_PATIENCE_MS)
        yield page
        browser.close()
    assert faults == []


def _colours(page: Page) -> dict[tuple[int, int, int], int]:
    """How often each colour is on the map."""
    shot = Image.open(io.BytesIO(page.locator("#map").screenshot())).convert("RGB")
    return {colour: count for count, colour in shot.getcolors(maxcolors=1 << 24) or []}


def _eventually(page: Page, holds: Callable[[dict[tuple[int, int, int], int]], bool]) -> None:
    """Fails when the map does not come to look so: it moves for a while after a click."""
    deadline = time.monotonic() + _PATIENCE_MS / 1000
    while not holds(_colours(page)):
        assert time.monotonic() < deadline, "the map does not come to show it"


def _near(colours: dict[tuple[int, int, int], int], wanted: tuple[int, int, int]) -> int:
    return sum(n for c, n in colours.items() if max(abs(a - b) for a, b in zip(c, wanted, strict=True)) <= 6)


@pytest.mark.slow
@needs_build
@needs_browser
def test_the_map_shows_the_cases_in_their_colours(page: Page) -> None:
    """Three cases in list and count; on the map their points, the road, and the patrols' track."""
    assert page.locator("#case-count").inner_text() == "3"
    assert page.locator("#case-list .item").count() == 3
    colours = _colours(page)
    assert _near(colours, GARBAGE) > 40
    assert _near(colours, SHED) > 40
    assert _near(colours, (255, 255, 255)) > 2000


@pytest.mark.slow
@needs_build
@needs_browser
def test_a_case_opens_with_its_picture_box_code_and_log(page: Page) -> None:
    """Clicking a case shows its matter, the picture with the box drawn over the thing, the radius and the log."""
    page.click(".item:has-text('暴露垃圾')")
    page.wait_for_selector("#panel .shot .box")
    panel = page.locator("#panel")
    text = panel.inner_text()
    for expected in ("06010", "暴露垃圾", "Exposed garbage", "±", "Seen again", "chain intact", "案卷建立"):
        assert expected in text
    box = panel.locator(".shot:not([hidden]) .box").first
    assert [float(box.get_attribute(name) or "nan") for name in ("x", "y", "width", "height")] == [50, 100, 100, 100]
    assert panel.locator(".strip button").count() == 2
    panel.locator(".strip button").nth(1).click()
    assert panel.locator(".shot:not([hidden])").get_attribute("id") == "shot-2"
    assert page.url.endswith(f"#case={page.locator('.item.open').get_attribute('data-case')}")
    _eventually(page, lambda colours: _near(colours, GARBAGE) > 30)
    page.keyboard.press("Escape")
    assert not panel.is_visible()


@pytest.mark.slow
@needs_build
@needs_browser
def test_filters_narrow_list_and_map(page: Page) -> None:
    """Choosing a class leaves its cases only, on the list and on the map."""
    page.goto(page.url.split("#")[0])
    page.reload()
    page.wait_for_selector("body[data-ready]", timeout=_PATIENCE_MS)
    page.locator("label:has(input[value=shed])").click()
    expect(page.locator("#case-list .item")).to_have_count(1)
    _eventually(page, lambda colours: _near(colours, GARBAGE) < 10 and _near(colours, SHED) > 40)
    page.locator("label:has(input[value=shed])").click()
    expect(page.locator("#case-list .item")).to_have_count(3)


@pytest.mark.slow
@needs_build
@needs_browser
def test_an_operator_decides_in_the_panel(page: Page) -> None:
    """A false alarm, then another class: each is kept, listed with its newest first, and exported for training."""
    page.click(".item:has-text('暴露垃圾')")
    panel = page.locator("#panel")
    panel.locator("[data-verdict=reject]").click()
    expect(panel.locator(".decide li")).to_have_count(1)
    expect(panel.locator(".decide li").first).to_contain_text("False alarm")
    panel.locator("[data-reclass]").select_option("overflow")
    expect(panel.locator(".decide li")).to_have_count(2)
    expect(panel.locator(".decide li").first).to_contain_text("Overflow")
    rows = [json.loads(line) for line in page.request.get(page.url.split("#")[0] + "v1/feedback").text().splitlines()]
    case = page.locator(".item.open").get_attribute("data-case")
    assert {row["case"] for row in rows} == {case}
    assert [row["verdict"] for row in rows] == ["reject", "reject", "reclass", "reclass"]
    assert {row["by"] for row in rows} == {"local"}
    page.keyboard.press("Escape")


@pytest.mark.slow
@needs_build
@needs_browser
def test_patrols_say_why_there_is_no_case(page: Page) -> None:
    """The list of patrols with their counts; a patrol's report with the sightings that opened no case, and why."""
    page.click("[data-tab=patrols]")
    expect(page.locator("#patrol-list .item")).to_have_count(2)
    page.locator("#patrol-list .item").nth(1).click()
    page.wait_for_selector("#panel:has-text('Why no case')")
    text = page.locator("#panel").inner_text()
    assert "a bin is an anchor and a fact, never a case" in text
    assert "新立 3" in text
    page.click("[data-tab=cases]")
    page.keyboard.press("Escape")


@pytest.mark.slow
@needs_build
@needs_browser
def test_the_interface_is_described_offline(page: Page) -> None:
    """/docs lists the routes without a single request to another host."""
    other = page.context.new_page()
    other.set_default_timeout(_PATIENCE_MS)
    asked: list[str] = []
    other.on("request", lambda one: asked.append(one.url))
    other.goto(page.url.split("#")[0] + "docs")
    expect(other.locator("[data-path='/v1/detect']")).to_be_visible()
    host = page.url.split("/")[2]
    assert {one.split("/")[2] for one in asked if one.startswith("http")} == {host}
    other.close()


def test_without_the_packages_the_page_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose page was not built answers with the command that builds it; the API works."""
    monkeypatch.setattr(build, "VENDOR", tmp_path / "nothing")
    with running(tmp_path / "data") as client:
        for url in ("/", "/docs"):
            answer = client.get(url)
            assert answer.status_code == 503
            assert "python -m serve.console.build" in answer.text
        assert client.get("/v1/cases").status_code == 200


def test_a_person_signs_in_with_the_key(tmp_path: Path) -> None:
    """With a key set, a browser is sent to the sign-in page; the right key opens a session, the wrong one does not."""
    with running(tmp_path, api_key=KEY) as client:
        sent = client.get("/", headers={"Accept": "text/html"}, follow_redirects=False)
        assert (sent.status_code, sent.headers["location"]) == (303, "/login")
        assert "API key" in client.get("/login").text
        assert client.post("/login", data={"key": "wrong"}).status_code == 401
        right = client.post("/login", data={"key": KEY}, follow_redirects=False)
        assert right.status_code == 303
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert KEY not in cookie
        assert client.get("/v1/cases").status_code == 200
        assert client.get("/console/patrols").status_code == 200


def test_pages_of_another_jurisdiction_are_not_found(tmp_path: Path) -> None:
    """The fragments of the console keep to the jurisdiction as the API does."""
    with running(tmp_path, jurisdiction="320200") as client:
        _fill(client)
        case = client.get("/v1/cases").json()["features"][0]["id"]
        patrol = client.get("/v1/patrols").json()["patrols"][0]["id"]
        assert client.get(f"/console/cases/{case}").status_code == 200
        assert client.get(f"/console/patrols/{patrol}").status_code == 200
    with running(tmp_path, jurisdiction="110000") as client:
        assert client.get(f"/console/cases/{case}").status_code == 404
        assert client.get(f"/console/patrols/{patrol}").status_code == 404
        assert "没有符合条件的案件" in client.get("/console/cases").text
        assert client.get("/console/tracks.geojson").json()["features"] == []


def test_decisions_stand_in_the_panel(tmp_path: Path) -> None:
    """The panel offers every other class that may be shown, and lists who decided what; names are never markup."""
    with running(tmp_path) as client:
        send(client, {"a.jpg": picture(thing())})
        case = client.get("/v1/cases").json()["features"][0]["id"]
        before = client.get(f"/console/cases/{case}").text
        assert before.count("<option") == 11  # ten other classes and the empty choice; no person, no vehicle
        assert 'value="person"' not in before
        said = {"verdict": "reclass", "class": "bin", "case": case, "by": "<i>li</i>"}
        assert client.post("/v1/feedback", json=said).status_code == 201
        after = client.get(f"/console/cases/{case}").text
    assert "&lt;i&gt;li" in after
    assert "Is rather" in after


def test_what_a_vehicle_sends_is_never_markup(tmp_path: Path) -> None:
    """Names and reasons that hold markup come out as text."""
    with running(tmp_path) as client:
        patrol = send(client, {"<img src=x onerror=alert(1)>.jpg": b"no picture", "b.jpg": picture(thing())})
        text = client.get(f"/console/patrols/{patrol}").text
        assert "&lt;img src=x" in text
        assert "<img src=x" not in text


def test_pages_carry_security_headers(tmp_path: Path) -> None:
    """Nothing from elsewhere may run in the page or frame it."""
    with running(tmp_path) as client:
        headers = client.get("/health/live").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_long_lists_come_in_pages(tmp_path: Path) -> None:
    """The list of cases ends with a way to the next stretch; together the stretches hold every case once."""
    with running(tmp_path) as client:
        send(client, {"a.jpg": picture(*(thing(at_m=20.0 * i) for i in range(70)))})
        first = client.get("/console/cases").text
        assert first.count('data-case="') == 60
        following = first.split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
        second = client.get(following).text
        assert second.count('data-case="') == 10
        assert "hx-get" not in second


def test_the_recipe_names_no_address() -> None:
    """The lock file pins versions and hashes; where packages come from is the machine's own setting."""
    lock = (Path(build.__file__).parent / "package-lock.json").read_text("utf-8")
    assert '"resolved"' not in lock
    assert lock.count('"integrity": "sha512-') > 5
    locked = json.loads(lock)["packages"]
    assert {f"node_modules/{name}" for name in build.FILES} <= set(locked)


def test_every_page_is_known(tmp_path: Path) -> None:
    """Each route of the console answers without an argument error when there is nothing to show."""
    with running(tmp_path) as client:
        paths = [route.path for route in router.routes if "{" not in route.path]  # type: ignore[attr-defined]
        assert len(paths) >= 7
        for path in paths:
            assert client.get(path).status_code in (200, 503), path


def test_static_files_have_their_types(tmp_path: Path) -> None:
    """Modules are served as JavaScript whatever the machine thinks of .mjs."""
    with running(tmp_path) as client:
        assert client.get("/static/console.js").headers["content-type"].startswith("text/javascript")
        assert _missing(client)


def _missing(client: TestClient) -> bool:
    return client.get("/static/../settings.py").status_code == 404 and client.get("/static/none.js").status_code == 404
