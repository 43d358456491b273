"""The only module that imports Blender: a child process that draws scenes with Cycles, without a screen.

Run by path with an interpreter that has `bpy` and numpy; imports nothing else of ours, so that it needs neither our
package nor our numpy. Reads one JSON request per line from standard input and answers one JSON line each:

- {"do": "scene", "folder": F}: load F/scene.json and F/scene.npz (written by `package.write_scene`);
- {"do": "view", "matrix": 4x4 camera to world, "fx": …, "cx": …, "cy": …, "width": …, "height": …, "samples": …,
  "seed": …, "out": PATH.npz}: draw, then write `rgb` (h, w, 3) float16 linear light, `ids` (h, w) uint16 (0: no
  thing) and `depth` (h, w) float32 metres along the axis of view.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np


class Nodes:
    """Builds one node tree: `add(type, **values)` sets inputs by name; values that are sockets are linked."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        tree.nodes.clear()

    def add(self, kind: str, attrs: dict[str, Any] | None = None, **inputs: Any) -> Any:
        node = self.tree.nodes.new(kind)
        for name, value in (attrs or {}).items():
            setattr(node, name, value)
        for name, value in inputs.items():
            socket = node.inputs[int(name[1:])] if name[0] == "_" else node.inputs[name.replace("_", " ")]
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, socket)
            else:
                socket.default_value = (*value, 1.0) if socket.type == "RGBA" and len(value) == 3 else value
        return node

    def noise(self, size_m: float, channel: str = "Red", stretch: float = 1.0) -> Any:
        """Unevenness of that feature size over world places: one look-up in a tile, laid on by the surface's side."""
        if not hasattr(self, "place"):
            self.place = self.add("ShaderNodeNewGeometry").outputs["Position"]
        k = 1.0 / (8.0 * size_m)
        where = self.add(
            "ShaderNodeMapping", {"vector_type": "POINT"}, Vector=self.place, Scale=(k, k, k * stretch)
        ).outputs[0]
        tile = self.add(
            "ShaderNodeTexImage",
            {"image": bpy.data.images["uneven"], "projection": "BOX", "projection_blend": 0.0},
            Vector=where,
        )
        return self.add("ShaderNodeSeparateColor", Color=tile.outputs[0]).outputs[channel]

    def mix(self, fac: Any, a: Any, b: Any, blend: str = "MIX") -> Any:
        node = self.add("ShaderNodeMix", {"data_type": "RGBA", "blend_type": blend})
        for index, value in ((0, fac), (6, a), (7, b)):
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, node.inputs[index])
            else:
                node.inputs[index].default_value = value if index == 0 else (*value, 1.0)
        return node.outputs[2]

    def ramp(self, fac: Any, low: float, high: float) -> Any:
        node = self.add("ShaderNodeMapRange", {"clamp": True}, Value=fac)
        node.inputs[1].default_value, node.inputs[2].default_value = low, high
        return node.outputs[0]

    def math(self, operation: str, a: Any, b: Any) -> Any:
        return self.add("ShaderNodeMath", {"operation": operation}, _0=a, _1=b).outputs[0]


GROUND = frozenset({"asphalt", "ground", "slabs", "sand", "mark"})


def make_material(spec: dict[str, Any], images: dict[str, Any], wet: float) -> Any:
    """A Blender material by the recipe that `spec["kind"]` names."""
    material = bpy.data.materials.new(spec["kind"])
    material.use_nodes = True
    n = Nodes(material.node_tree)
    kind, colour, size = spec["kind"], spec["colour"], spec["scale"]
    colour2 = spec["colour2"] or [0.7 * c for c in colour]
    uv = n.add("ShaderNodeUVMap").outputs[0]
    base, rough, height, metal = spec["colour"], spec["rough"], None, spec["metal"]
    if kind in ("plain", "image", "rusty", "sand", "bag", "mark"):
        blotch = n.ramp(n.noise(size), 0.35, 0.65)
        base = n.mix(blotch, colour, colour2)
    if kind == "image":
        picture = n.add("ShaderNodeTexImage", {"image": images[spec["image"]], "interpolation": "Linear"}, Vector=uv)
        base = n.mix(n.math("MULTIPLY", blotch, 0.15), picture.outputs[0], (0.3, 0.28, 0.25))
    elif kind == "asphalt":
        grain, wear = n.noise(0.08, "Green"), n.noise(2.5)
        base = n.mix(n.ramp(grain, 0.25, 0.8), [0.75 * c for c in colour], [1.6 * c for c in colour])
        base = n.mix(n.ramp(wear, 0.45, 0.75), base, n.mix(0.6, base, [0.4 * c for c in colour]))
        crack = n.math("MULTIPLY", n.noise(0.7, "Blue"), n.ramp(wear, 0.5, 0.56))
        base = n.mix(crack, base, (0.012, 0.011, 0.01))
        height = grain
    elif kind == "sand":
        base = n.mix(n.ramp(n.noise(0.12, "Green"), 0.3, 0.75), base, [0.75 * c for c in colour])
        height = n.noise(0.4)
    elif kind in ("slabs", "bricks", "tiles", "panels"):
        across, up, gap = {"slabs": (size, size, 0.012), "bricks": (0.25, 0.075, 0.012), "tiles": (0.2, 0.1, 0.008),
                           "panels": (2.4, 1.6, 0.03)}[kind]  # fmt: skip
        shift = 0.0 if kind in ("tiles", "panels") else 0.5
        joint = [0.45 * c for c in colour] if kind != "bricks" else (0.4, 0.38, 0.35)
        brick = n.add(
            "ShaderNodeTexBrick", {"offset": shift}, Vector=uv, Color1=colour, Color2=[0.82 * c for c in colour],
            Mortar=joint, Scale=1.0, Brick_Width=across, Row_Height=up, Mortar_Size=gap / 2,
        )  # fmt: skip
        base = n.mix(n.math("MULTIPLY", n.ramp(n.noise(0.9), 0.45, 0.8), 0.5), brick.outputs[0], colour2)
    elif kind == "plaster":
        base = n.mix(n.math("MULTIPLY", n.ramp(n.noise(0.7, stretch=0.15), 0.5, 0.85), 0.7), colour, colour2)
    elif kind == "rusty":
        eaten = n.ramp(n.noise(0.6), 0.72 - 0.3 * spec["metal"], 0.8 - 0.25 * spec["metal"])
        base, metal = n.mix(eaten, base, (0.16, 0.06, 0.025)), 0.0
        rough = n.math("ADD", n.math("MULTIPLY", eaten, 0.45), rough)
    elif kind == "bag":
        height = n.noise(size)
    elif kind == "foliage":
        base = n.mix(n.add("ShaderNodeNewGeometry").outputs["Random Per Island"], colour, colour2)
    elif kind == "mark":
        base = n.mix(n.ramp(n.noise(0.2), 0.55, 0.68), colour, colour2)
    if kind in GROUND and wet > 0:
        puddle = n.ramp(n.noise(2.0), 0.72 - 0.35 * wet, 0.8 - 0.3 * wet)
        base = n.mix(1.0, base, [1 - 0.5 * wet] * 3, "MULTIPLY")
        rough = n.add("ShaderNodeMapRange", Value=puddle, To_Min=rough - 0.35 * wet, To_Max=0.06).outputs[0]
        if height is not None:
            height = n.math("MULTIPLY", height, n.math("SUBTRACT", 1.0, puddle))
    shader = n.add("ShaderNodeBsdfPrincipled", Base_Color=base, Roughness=rough, Metallic=metal)
    if kind == "glass":
        shader.inputs["Specular IOR Level"].default_value = 0.9
    elif kind in ("bag", "paint"):
        shader.inputs["Coat Weight"].default_value = 0.0 if kind == "bag" else 0.6
    if height is not None and spec["bump"]:
        bump = n.add("ShaderNodeBump", Height=height, Distance=spec["bump"] / 1000.0, Strength=1.0)
        n.tree.links.new(bump.outputs[0], shader.inputs["Normal"])
    n.add("ShaderNodeOutputMaterial", Surface=shader.outputs[0])
    return material


def make_world(light: dict[str, Any], sky: Any) -> None:
    """The drawn sky (h, w, 3) all around, and one sun."""
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    bpy.context.scene.world = world
    n = Nodes(world.node_tree)
    dome = n.add("ShaderNodeTexEnvironment", {"image": make_image("sky", sky, linear=True)})
    background = n.add("ShaderNodeBackground", Color=dome.outputs[0])
    n.add("ShaderNodeOutputWorld", Surface=background.outputs[0])
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 128
    if light["sun_strength"] > 0:
        sun = bpy.data.lights.new("sun", "SUN")
        sun.energy, sun.color, sun.angle = (
            light["sun_strength"],
            light["sun_colour"],
            math.radians(light["sun_size_deg"]),
        )
        lamp = bpy.data.objects.new("sun", sun)
        lamp.rotation_euler = (math.radians(90 - light["sun_height_deg"]), 0, math.radians(light["sun_turn_deg"]))
        bpy.context.scene.collection.objects.link(lamp)


def make_image(name: str, pixels: Any, *, linear: bool = False) -> Any:
    """A picture (h, w, 3), top row first: bytes, or with `linear` floats of light."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new(name, width, height, float_buffer=linear, is_data=name == "uneven")
    rgba = np.ones((height, width, 4), dtype=np.float32)
    rgba[..., :3] = pixels[::-1] if linear else pixels[::-1] / 255.0
    image.pixels.foreach_set(rgba.ravel())
    image.update()
    return image


def load_scene(folder: Path) -> None:
    """Replace whatever is there by the packed scene."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    spec = json.loads((folder / "scene.json").read_text())
    data = np.load(folder / "scene.npz")
    make_image("uneven", data["uneven"])
    images = {name: make_image(name, data[f"image_{name}"]) for name in spec["images"]}
    materials = [make_material(m, images, spec["light"]["wet"]) for m in spec["materials"]]
    meshes = [make_mesh(f"m{i}", data, i, materials) for i in range(spec["meshes"])]
    for item in spec["objects"]:
        thing = bpy.data.objects.new("thing", meshes[item["mesh"]])
        thing.matrix_world = np.array(item["matrix"]).T.tolist()
        thing.pass_index = item["id"]
        bpy.context.scene.collection.objects.link(thing)
    make_world(spec["light"], data["sky"])


def make_mesh(name: str, data: Any, index: int, materials: list[Any]) -> Any:
    """One mesh from the arrays of the package; triangles repeat their third corner."""
    verts, faces, uv, ids, smooth = (data[f"{key}_{index}"] for key in ("verts", "faces", "uv", "material", "smooth"))
    mesh = bpy.data.meshes.new(name)
    sides = np.where(faces[:, 2] == faces[:, 3], 3, 4).astype(np.int32)
    used = np.arange(4)[None, :] < sides[:, None]
    loops = faces[used].astype(np.int32)
    mesh.vertices.add(len(verts))
    mesh.vertices.foreach_set("co", verts.astype(np.float32).ravel())
    mesh.loops.add(len(loops))
    mesh.loops.foreach_set("vertex_index", loops)
    mesh.polygons.add(len(faces))
    mesh.polygons.foreach_set("loop_start", np.concatenate([[0], np.cumsum(sides)[:-1]]).astype(np.int32))
    table, local = np.unique(ids, return_inverse=True)
    mesh.polygons.foreach_set("material_index", local.astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", smooth.astype(bool))
    for material in table:
        mesh.materials.append(materials[int(material)])
    layer = mesh.uv_layers.new(name="uv")
    layer.data.foreach_set("uv", uv[used].astype(np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh.validate()
    return mesh


def prepare(request: dict[str, Any], folder: str) -> None:
    """Render settings, camera and where the three layers go."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", request["samples"], request["seed"] % 2**31
    cycles.use_adaptive_sampling, cycles.adaptive_threshold, cycles.adaptive_min_samples = True, 0.08, 4
    cycles.use_denoising, cycles.denoiser = True, "OPENIMAGEDENOISE"
    cycles.denoising_prefilter, cycles.denoising_quality = "FAST", "FAST"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 2, 1, 2
    # Past the first bounce the sky, shut off by what is near, stands in for the rest of the light.
    cycles.use_fast_gi, cycles.fast_gi_method, cycles.ao_bounces, cycles.ao_bounces_render = True, "REPLACE", 1, 1
    cycles.transmission_bounces, cycles.transparent_max_bounces, cycles.volume_bounces = 0, 2, 0
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect, cycles.blur_glossy = 4.0, 1.0
    render = scene.render
    render.threads_mode, render.threads = "FIXED", request.get("threads", 1)
    render.use_persistent_data = True
    render.resolution_x, render.resolution_y, render.resolution_percentage = request["width"], request["height"], 100
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_object_index = True
    if scene.camera is None:
        scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(scene.camera)
        scene.use_nodes = True
        n = Nodes(scene.node_tree)
        layers = n.add("CompositorNodeRLayers")
        out = n.add("CompositorNodeOutputFile", {"base_path": folder})
        out.format.file_format, out.format.color_mode, out.format.color_depth = "OPEN_EXR", "RGB", "32"
        out.format.exr_codec = "NONE"
        out.file_slots.clear()
        for name, output in (("rgb", "Image"), ("depth", "Depth"), ("ids", "IndexOB")):
            out.file_slots.new(name)
            n.tree.links.new(layers.outputs[output], out.inputs[name])
    camera = scene.camera.data
    width, height = request["width"], request["height"]
    camera.sensor_fit, camera.sensor_width = "HORIZONTAL", 36.0
    camera.lens = request["fx"] / width * 36.0
    # Blender shifts in fractions of the picture's width; its axes point right and up.
    camera.shift_x = -(request["cx"] - (width - 1) / 2) / width
    camera.shift_y = (request["cy"] - (height - 1) / 2) / width
    camera.clip_start, camera.clip_end = 0.05, 2000.0
    scene.camera.matrix_world = np.array(request["matrix"]).T.tolist()


def read_layer(folder: str, name: str, size_wh: tuple[int, int]) -> Any:
    """One written layer as (h, w, 3) float32, top row first."""
    (path,) = Path(folder).glob(f"{name}*.exr")
    image = bpy.data.images.load(str(path))
    image.colorspace_settings.name = "Non-Color"
    pixels = np.empty(size_wh[0] * size_wh[1] * 4, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    path.unlink()
    return pixels.reshape(size_wh[1], size_wh[0], 4)[::-1, :, :3]


def draw(request: dict[str, Any], folder: str) -> None:
    """Render one view and write its layers in one file, which appears at once or not at all."""
    prepare(request, folder)
    bpy.ops.render.render(write_still=False)
    size = (request["width"], request["height"])
    rgb, depth, ids = (read_layer(folder, name, size) for name in ("rgb", "depth", "ids"))
    part = Path(request["out"] + ".part")
    with part.open("wb") as file:
        np.savez(
            file,
            rgb=np.clip(rgb, 0, 6e4).astype(np.float16),
            ids=np.rint(ids[..., 0]).astype(np.uint16),
            depth=np.minimum(depth[..., 0], 1e4).astype(np.float32),
        )
    part.rename(request["out"])


def main() -> None:
    """Serve requests until standard input ends. Blender's own chatter goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(BrokenPipeError):
        for line in sys.stdin:
            request = json.loads(line)
            started = time.process_time()
            if request["do"] == "scene":
                load_scene(Path(request["folder"]))
            else:
                draw(request, folder)
            print(json.dumps({"done": request["do"], "cpu_s": time.process_time() - started}), file=answers, flush=True)


if __name__ == "__main__":
    main()
