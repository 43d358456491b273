"""Hands a scene to the renderer: one folder with scene.json and scene.npz."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from training.simulate.backdrop import sky, uneven_tile
from training.simulate.mesh import Material
from training.simulate.scene import Scene


def write_scene(scene: Scene, folder: Path, which: int = 1) -> None:
    """Write what stands in the street in pass `which`; the format is read by `render.load_scene`."""
    materials: dict[Material, int] = {}
    arrays: dict[str, Any] = {f"image_{name}": picture for name, picture in scene.images.items()}
    rng = np.random.default_rng([scene.seed, 13])
    arrays["uneven"], arrays["sky"] = uneven_tile(rng), sky(scene.light_in(which), rng).astype(np.float32)
    things = scene.seen_in(which)
    used = sorted({t.mesh for t in things})
    for number, index in enumerate(used):
        mesh = scene.meshes[index]
        table = np.array([materials.setdefault(m, len(materials)) for m in mesh.materials], dtype=np.int32)
        arrays[f"verts_{number}"] = mesh.verts.astype(np.float32)
        arrays[f"faces_{number}"] = mesh.faces
        arrays[f"uv_{number}"] = mesh.uv.astype(np.float32)
        arrays[f"material_{number}"] = table[mesh.material]
        arrays[f"smooth_{number}"] = mesh.smooth
    record = {
        "images": list(scene.images),
        "materials": [asdict(m) for m in materials],
        "meshes": len(used),
        "objects": [{"mesh": used.index(t.mesh), "matrix": t.matrix.tolist(), "id": t.id} for t in things],
        "light": asdict(scene.light_in(which)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "scene.npz", **arrays)
    (folder / "scene.json").write_text(json.dumps(record))
