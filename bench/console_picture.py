"""Take the README's picture: run the demo, open the console in Chromium, open a case, and write what is seen.

    python bench/console_picture.py docs/console.png [--class overflow] [--dark]

Needs the [dev] extra, the built page (python -m serve.console.build), chromium and a font with Chinese characters.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1440, "height": 900}
PATIENCE_MS = 180_000


def best_case(url: str, class_name: str) -> str:
    """The case of that class with most passes and the best score; of any class when there is none."""
    with urllib.request.urlopen(f"{url}/v1/cases?limit=1000") as answer:
        cases = json.load(answer)["features"]
    wanted = [case for case in cases if case["properties"]["class"] == class_name] or cases
    best = max(wanted, key=lambda case: (case["properties"]["sightings"], case["properties"]["score"]))
    return str(best["id"])


def photograph(url: str, class_name: str, dark: bool) -> bytes:
    """The page with that case open, as PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"],
        )
        page = browser.new_page(viewport=SIZE, color_scheme="dark" if dark else "light", timezone_id="Asia/Shanghai")
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{url}/#case={best_case(url, class_name)}")
        page.wait_for_selector("body[data-ready]")
        page.wait_for_selector("#panel .shot .box")
        page.wait_for_timeout(3000)
        shot = page.screenshot()
        browser.close()
    return shot


def main() -> int:
    """Run the demo in a folder of its own and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--class", dest="class_name", default="overflow")
    parser.add_argument("--dark", action="store_true")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "jiejing", "demo", "--data", f"{folder}/demo", "--port", "0"]
        demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert demo.stdout is not None
        try:
            for line in demo.stdout:
                if line.startswith("Open http"):
                    shot = photograph(line.split()[1], wanted.class_name, wanted.dark)
                    break
            else:
                return 1
        finally:
            demo.terminate()
            demo.wait()
    Image.open(io.BytesIO(shot)).convert("RGB").save(wanted.target, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
