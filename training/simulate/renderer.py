"""Finds an interpreter that has Blender, keeps one child process of it, and asks it for pictures."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from training.simulate.camera import View
from training.simulate.package import write_scene
from training.simulate.scene import Scene
from vision.errors import JiejingError, UsageError

VARIABLE = "JIEJING_RENDERER"
REMEDY = (
    "install Blender's module into a virtual environment of its own (python3.11 -m venv renderer && "
    f"renderer/bin/pip install bpy==4.5.*) and pass --renderer renderer/bin/python or set {VARIABLE}; "
    "or use --no-render for geometry alone"
)


class RendererError(JiejingError):
    """There is no renderer, or it failed."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """What the renderer saw. `rgb` (h, w, 3) linear light; `ids` (h, w) of things, 0 for scenery and sky; `depth`
    (h, w) metres along the axis of view; `cpu_s` it took."""

    rgb: npt.NDArray[np.float32]
    ids: npt.NDArray[np.uint16]
    depth: npt.NDArray[np.float32]
    cpu_s: float = 0.0


def find_interpreter(wanted: str | None = None) -> str:
    """The interpreter to render with: the one asked for, this one, or the one the environment names.

    Raises UsageError when the one asked for does not import bpy, RendererError when there is none.
    """
    if wanted is None and importlib.util.find_spec("bpy") is not None:
        return sys.executable
    path = wanted or os.environ.get(VARIABLE)
    if not path:
        raise RendererError("no renderer found: this Python cannot import bpy", remedy=REMEDY)
    try:
        tried = subprocess.run([path, "-c", "import bpy, numpy"], capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"the renderer {path} does not start ({error})", remedy=REMEDY) from error
    if tried.returncode:
        raise UsageError(f"the renderer {path} cannot import bpy", remedy=REMEDY)
    return path


class Renderer:
    """One child process with one scene loaded; draws view after view."""

    def __init__(self, child: subprocess.Popen[str], folder: Path, threads: int) -> None:
        self._child, self._folder, self._threads, self._count = child, folder, threads, 0

    def load(self, scene: Scene, which: int = 1) -> None:
        """Put a scene, as it is in pass `which`, before the camera."""
        write_scene(scene, self._folder, which)
        self._ask({"do": "scene", "folder": str(self._folder)})

    def draw(self, view: View, samples: int, seed: int) -> Drawing:
        """Render one view with `samples` rays a pixel, denoised."""
        camera, out = view.camera, self._folder / "view.npz"
        answer = self._ask(
            {
                "do": "view",
                "matrix": view.blender_matrix().tolist(),
                "fx": camera.fx,
                "cx": camera.cx,
                "cy": camera.cy,
                "width": camera.width,
                "height": camera.height,
                "samples": samples,
                "seed": seed,
                "threads": self._threads,
                "out": str(out),
            }
        )
        with np.load(out) as layers:
            drawing = Drawing(layers["rgb"].astype(np.float32), layers["ids"], layers["depth"], float(answer["cpu_s"]))
        out.unlink()
        return drawing

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            tail = (self._folder / "renderer.log").read_text(errors="replace").strip().splitlines()[-3:]
            raise RendererError(
                f"the renderer stopped while asked for a {request['do']}: {' | '.join(tail) or 'it said nothing'}",
                remedy="run the same command again, finished pictures are kept; with little memory, lower --size",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextlib.contextmanager
def open_renderer(interpreter: str | None = None, threads: int = 1) -> Iterator[Renderer]:
    """Start a renderer; it ends with the block."""
    path = find_interpreter(interpreter)
    script = Path(__file__).with_name("render.py")
    with tempfile.TemporaryDirectory(prefix="jiejing-render-") as name:
        folder = Path(name)
        log: IO[str]
        with (folder / "renderer.log").open("w") as log:
            child = subprocess.Popen(
                [path, "-I", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
            try:
                yield Renderer(child, folder, threads)
            finally:
                assert child.stdin is not None
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.close()
                try:
                    child.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
                if child.stdout is not None:
                    child.stdout.close()
