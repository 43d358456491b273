"""The street maker: the same seed, the same street; truth that agrees with geometry; pictures that survive a kill."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import json
import math
import tomllib
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from training.simulate.beat import make_beat
from training.simulate.camera import Camera, Mount, View, looking, mounted, rotation
from training.simulate.commands import app, parse_size
from training.simulate.develop import Exposure, develop, encode, flow
from training.simulate.drive import Clock, Drive, consumer_fixes
from training.simulate.mesh import Material, Mesh, box, merge
from training.simulate.patrol import PatrolJob, make_patrol, patrol_camera
from training.simulate.pictures import PictureJob, make_pictures, plan_views, yolo_lines
from training.simulate.populate import make_scene
from training.simulate.renderer import VARIABLE, Drawing, RendererError, find_interpreter, open_renderer
from training.simulate.scene import Scene
from training.simulate.truth import TruthBox, boxes_of, paint
from vision.camera import read_camera
from vision.errors import JiejingError, UsageError
from vision.taxonomy import CLASSES
from vision.tracks.track import read_track

SAMPLE = Path(__file__).parents[1] / "datasets" / "sample-patrol"
GREY = Material("plain")


@pytest.fixture(scope="module")
def beat() -> Scene:
    """A short street for patrols."""
    return make_beat(3, length=30.0)


def empty_scene(beat: Scene) -> Scene:
    """A scene with the same lay of the land and nothing in it."""
    return Scene(1, "street", beat.street, beat.lights)


def cube(size: float = 1.0) -> Mesh:
    """A grey cube standing on z = 0."""
    return box((size, size, size), GREY)


def at(x: float, y: float, z: float = 0.0) -> np.ndarray:
    """A matrix that moves."""
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return matrix


def eastward(width: int = 320, height: int = 240, up: float = 0.5) -> View:
    """A level camera at the origin that looks east."""
    return looking(Camera.wide(width, height, 60, up), np.array([0.0, 0.0, up]), 0, 0, 0)


def test_same_seed_same_bytes() -> None:
    """A seed gives one scene, byte for byte, and another seed another."""
    first, again, other = (make_scene(seed).description() for seed in (4, 4, 5))
    assert first == again
    assert first != other


def test_beats_are_reproducible(beat: Scene) -> None:
    """So does a patrol's street."""
    assert make_beat(3, length=30.0).description() == beat.description()


def test_crowded_streets_hold_every_class() -> None:
    """A few scenes for training pictures hold all thirteen classes."""
    found = {thing.class_name for seed in range(3) for thing in make_scene(seed).things if thing.id}
    assert found == set(CLASSES)


def test_ids_are_unique(beat: Scene) -> None:
    """Every thing that is looked for has an id of its own, from 1 up."""
    ids = [thing.id for thing in beat.things if thing.id]
    assert sorted(ids) == list(range(1, len(ids) + 1))


def test_meshes_are_sound() -> None:
    """No mesh of a scene has faces beyond its vertices, coordinates that are not numbers, or things of absurd size."""
    scene = make_scene(7)
    for thing in scene.things:
        mesh = scene.meshes[thing.mesh]
        assert np.isfinite(mesh.verts).all()
        assert mesh.faces.min() >= 0
        assert mesh.faces.max() < len(mesh.verts)
        assert mesh.material.max() < len(mesh.materials)
        if thing.id:
            assert (mesh.verts.max(axis=0) - mesh.verts.min(axis=0)).max() < 12


def test_litter_has_true_size() -> None:
    """Small pieces are between 5 and 45 cm long, as in a hand."""
    from training.simulate.kit import Kit
    from training.simulate.waste import piece

    kit = Kit(np.random.default_rng(0))
    sizes = [float((m.verts.max(axis=0) - m.verts.min(axis=0)).max()) for m in (piece(kit) for _ in range(150))]
    assert min(sizes) > 0.05
    assert max(sizes) < 0.7
    assert np.median(sizes) < 0.32


def test_ground_rises_at_the_kerb(beat: Scene) -> None:
    """The pavement lies one kerb above the gutter, and the crown above the gutter."""
    street = beat.street
    gutter, pavement = (float(street.world(10.0, -street.half + d)[2]) for d in (0.01, -0.01))
    assert pavement - gutter == pytest.approx(street.kerb, abs=0.005)
    flat = replace(street, tilt=np.zeros_like(street.tilt))
    assert float(flat.height(10.0, 0.0)) > float(flat.height(10.0, street.half - 0.1))


def test_streets_slope_and_tilt(beat: Scene) -> None:
    """Neither along nor across is the ground level, nor the same everywhere."""
    slope = np.diff(beat.street.middle[:, 2])
    assert np.ptp(slope) > 1e-3
    assert np.ptp(beat.street.tilt) > 1e-3


def test_projection_of_a_known_point() -> None:
    """A point one metre to the right at four metres falls a quarter of the focal length right of the middle."""
    view = eastward()
    pixels, depth = view.to_picture(np.array([[4.0, -1.0, 0.5], [4.0, 0.0, 0.5]]))
    camera = view.camera
    assert depth == pytest.approx([4.0, 4.0])
    assert pixels[0] == pytest.approx([camera.cx + camera.fx / 4, camera.cy])
    assert pixels[1] == pytest.approx([camera.cx, camera.cy])


def test_mount_signs_agree_with_the_product(tmp_path: Path) -> None:
    """The simulator's own projection and the product's camera put a point into the same pixel, mount and all."""
    camera = Camera(640, 480, 500.0, 310.0, 250.0, 1.9, Mount(0.9, -0.2, 0.2, -12.0, -3.0, 0.7))
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(camera.to_json()))
    product = read_camera(path)
    body = rotation(37.0, 1.5, -2.0)
    tracked = np.array([3.0, 4.0, 1.7])
    view = mounted(camera, tracked, body)
    for local in ([8.0, -2.0, -1.5], [15.0, 1.0, 0.5], [5.0, -3.0, -1.0]):
        world = tracked + body @ np.array(local)
        ours, _ = view.to_picture(world[None])
        theirs = product.project(np.array(local) - np.array([0.9, -0.2, 0.2]))
        assert ours[0] == pytest.approx(theirs, abs=1e-6)


def test_painted_box_is_the_projected_box(beat: Scene) -> None:
    """The truth box of a free-standing cube is the hull of its projected corners, to a pixel."""
    scene = empty_scene(beat)
    thing = scene.add("bin", cube(), at(6.0, 0.4))
    view = eastward()
    ids, depth, _ = paint(scene, view)
    (found,) = boxes_of(scene, view, ids, depth)
    pixels, _ = view.to_picture(scene.corners(thing))
    low, high = pixels.min(axis=0) + 0.5, pixels.max(axis=0) + 0.5
    assert found.box_xyxy == pytest.approx((*low, *high), abs=1.5)
    assert found.visible > 0.97
    assert found.range_m == pytest.approx(5.5, abs=0.4)
    assert not found.ignore


def test_what_stands_before_hides() -> None:
    """A wall before half of a cube halves what is visible and the box; before all of it the cube is gone."""
    street = make_beat(3, length=30.0).street
    scene = Scene(1, "street", street, ())
    scene.add("bin", cube(), at(8.0, 0.0))
    wall = box((0.2, 4.0, 4.0), GREY)
    scene.add("", wall, at(4.0, 2.0))
    view = eastward()
    (half,) = boxes_of(scene, view, *paint(scene, view)[:2])
    assert 0.35 < half.visible < 0.65
    scene.add("", wall, at(4.0, -1.9))
    assert boxes_of(scene, view, *paint(scene, view)[:2]) == []


def test_edge_of_the_picture_cuts(beat: Scene) -> None:
    """A cube half outside the picture is wholly visible but only half inside."""
    scene = empty_scene(beat)
    view = eastward()
    edge = 6.0 * (view.camera.cx + 0.5) / view.camera.fx
    scene.add("bin", cube(), at(6.0, edge))
    (found,) = boxes_of(scene, view, *paint(scene, view)[:2])
    assert found.visible > 0.95
    assert 0.25 < found.inside < 0.75
    assert found.box_xyxy[0] == 0


def test_hardly_visible_things_are_marked(beat: Scene) -> None:
    """A cup at forty metres is kept in the truth and left out of the labels."""
    scene = empty_scene(beat)
    scene.add("garbage", cube(0.1), at(12.0, 0.0))
    view = eastward()
    found = boxes_of(scene, view, *paint(scene, view)[:2])
    assert [box.ignore for box in found] == [True]
    assert yolo_lines(found, (320, 240)) == ""


def test_label_lines() -> None:
    """Labels carry the class's place in the taxonomy and shares of the picture."""
    box = TruthBox(3, "shed", (10, 20, 110, 70), 900, 1.0, 1.0, 5.0, False)
    assert yolo_lines([box], (200, 100)) == "5 0.300000 0.450000 0.500000 0.500000\n"


def test_views_stand_on_open_ground() -> None:
    """Half of the views are hand-held, half from the road at windscreen height; each sees something of ours."""
    scene, views = plan_views(3, 0, (160, 120))
    assert len(views) == 8
    for index, (view, _) in enumerate(views):
        assert view.axes @ view.axes.T == pytest.approx(np.eye(3), abs=1e-9)
        assert 1.3 < view.camera.height_above_ground_m < 2.3
        if index == 1:
            assert boxes_of(scene, view, *paint(scene, view)[:2])


def test_poses_follow_the_ground(beat: Scene) -> None:
    """The lens stays at its height above the road although the road climbs and tilts."""
    drive = Drive(beat, 3, 1, 0.0, 4.5, 6.0)
    camera = patrol_camera((640, 480))
    for time_s in (0.0, 2.5, 6.0):
        view = drive.view(camera, time_s)
        middle = beat.street.middle
        s = float(np.argmin(((middle[:, :2] - view.lens[:2]) ** 2).sum(axis=1)) * 0.5 - 20)
        ground = float(beat.street.world(s, -0.24 * beat.street.half)[2])
        assert view.lens[2] - ground == pytest.approx(camera.height_above_ground_m, abs=0.12)


def test_consumer_error_wanders_slowly(beat: Scene) -> None:
    """The phone's error is about a metre, and what it is now it nearly is a second later."""
    errors = []
    for seed in range(30):
        drive = Drive(beat, seed, 1, 0.0, 4.5, 20.0)
        times, fixes = consumer_fixes(drive)
        errors.append(fixes - np.array([[p.east, p.north] for p in (drive.pose(float(t)) for t in times)]))
    stacked = np.array(errors)
    assert 0.7 < stacked.std() < 1.3
    assert np.diff(stacked, axis=1).std() < 0.5


def test_motion_blur_grows_from_the_middle() -> None:
    """Driving ahead, content at the middle stands still and near content at the side moves outwards."""
    view = eastward(64, 48)
    drawing = Drawing(np.ones((48, 64, 3), np.float32), np.zeros((48, 64), np.uint16), np.full((48, 64), 5, np.float32))
    motion = flow(drawing, view, Exposure(shutter_s=0.02, velocity=(0, 0, 5.0)))
    assert np.abs(motion[24, 32]).max() < 0.05
    assert motion[24, 63, 0] > 0.5
    assert motion[24, 0, 0] < -0.5


def test_exposure_follows_the_scene() -> None:
    """The meter brings a dark and a bright street to the same brightness."""
    view = eastward(64, 48)
    means = []
    for light in (0.02, 3.0):
        rgb = np.full((48, 64, 3), light, np.float32)
        drawing = Drawing(rgb, np.zeros((48, 64), np.uint16), np.full((48, 64), 5, np.float32))
        picture = develop(drawing, view, 500.0, Exposure(noise=0.0), np.random.default_rng(0))
        means.append(float(picture.mean()))
    assert means[0] == pytest.approx(means[1], abs=6)
    assert 70 < means[0] < 170


def test_exif_round_trip(tmp_path: Path) -> None:
    """The written EXIF gives time to the millisecond with its zone, and the place to a centimetre."""
    taken = datetime.fromisoformat("2026-11-09T08:41:03.400+08:00")
    data = encode(np.zeros((16, 16, 3), np.uint8), 80, taken_at=taken, place=(120.3105123, 31.4912345, 4.0))
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with Image.open(path) as image:
        exif = image.getexif()
        times, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    assert times[0x9003] == "2026:11:09 08:41:03"
    assert times[0x9011] == "+08:00"
    assert times[0x9291] == "400"
    degrees = [sum(float(v) / 60**i for i, v in enumerate(gps[k])) for k in (2, 4)]
    assert degrees == pytest.approx([31.4912345, 120.3105123], abs=1e-7)


def test_no_render_patrol(tmp_path: Path) -> None:
    """Without pictures a patrol still gives tracks, a camera, the truth and imperfect detections, the same ones."""
    job = PatrolJob(3, frames=2, passes=1, size_wh=(320, 240), spacing_m=3.0, samples=None)
    for name in ("a", "b"):
        assert make_patrol(job, tmp_path / name) == 2
    one = tmp_path / "a" / "pass-1"
    assert (one / "detections.csv").read_bytes() == (tmp_path / "b" / "pass-1" / "detections.csv").read_bytes()
    rows = list(csv.DictReader((one / "detections.csv").open()))
    assert rows
    assert {row["class"] for row in rows} <= set(CLASSES)
    assert all(float(r["x_min"]) < float(r["x_max"]) <= 320 and 0 <= float(r["score"]) <= 1 for r in rows)
    header = (one / "track_rtk.csv").read_text().splitlines()[0].split(",")
    assert {"time_s", "heading_deg", "pitch_deg", "roll_deg", "speed_mps"} <= set(header)
    assert read_track(one / "track.csv").start is None


def test_flat_patrol_resumes(tmp_path: Path) -> None:
    """A patrol whose frame was lost draws that one again and no other; another seed in the same folder is refused."""
    job = PatrolJob(3, frames=2, passes=1, size_wh=(160, 120), spacing_m=4.0, samples=0)
    assert make_patrol(job, tmp_path) == 2
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "pass-1").glob("*.jpg")}
    lost = (tmp_path / "pass-1" / "0001.jpg").read_bytes()
    (tmp_path / "pass-1" / "0001.jpg").unlink()
    assert make_patrol(job, tmp_path) == 1
    assert (tmp_path / "pass-1" / "0001.jpg").read_bytes() == lost
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "pass-1").glob("*.jpg")}
    assert [n for n in before if before[n] != after[n]] == ["0001.jpg"]
    with pytest.raises(UsageError, match="another patrol"):
        make_patrol(replace(job, seed=4), tmp_path)


def test_second_pass_is_cleaner(beat: Scene) -> None:
    """Between the passes things go, others come, and an emptied bin stands where it overflowed."""
    gone = [t for t in beat.things if t.passes == (1,) and t.class_name in ("garbage", "overflow", "stall", "shed")]
    new = [t for t in beat.things if t.passes == (2,)]
    assert gone
    assert new
    emptied = [t for t in gone if t.class_name == "overflow"]
    places = [t.matrix[:3, 3] for t in new if t.class_name == "bin"]
    for thing in emptied:
        assert min(math.dist(thing.matrix[:3, 3], place) for place in places) < 0.01


def test_truth_geometry_agrees_with_boxes(tmp_path: Path) -> None:
    """What is wholly visible, projected through the true pose, fills its truth box."""
    job = PatrolJob(3, frames=2, passes=1, size_wh=(640, 480), spacing_m=4.0, samples=None)
    make_patrol(job, tmp_path)
    scene = make_beat(3, length=20.0)
    camera = patrol_camera(job.size_wh)
    frames = json.loads((tmp_path / "truth_boxes.json").read_text())["pass-1"]
    checked = 0
    for name, seen in frames.items():
        drive = Drive(scene, 3, 1, 0.0, job.speed_mps, (job.frames - 1) * job.step_s)
        view = drive.view(camera, int(name) * job.step_s)
        for record in seen:
            if record["visible"] < 0.97 or record["inside"] < 0.99:
                continue
            pixels, _ = view.to_picture(scene.corners(scene.labelled()[record["thing"]]))
            assert record["box"] == pytest.approx([*pixels.min(axis=0) + 0.5, *pixels.max(axis=0) + 0.5], abs=4)
            checked += 1
    assert checked > 5


def test_clock_writes_utc_or_seconds() -> None:
    """Tracks of rendered patrols carry instants, those of pure geometry seconds."""
    start = datetime.fromisoformat("2026-11-09T00:41:03+00:00")
    assert Clock(start).write(-0.5) == "2026-11-09T00:41:02.500Z"
    assert Clock(None).write(1.25) == "1.25"


@pytest.mark.parametrize("text", ["640", "axb", "640x480x3", ""])
def test_bad_size_is_one_line(text: str) -> None:
    """A size that is none names the remedy."""
    with pytest.raises(UsageError, match="640x480"):
        parse_size(text)


def test_missing_renderer_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Blender, and with a Python that lacks it, the error says what to install."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RendererError, match="bpy==4"):
        find_interpreter()
    with pytest.raises(UsageError, match="does not start"):
        find_interpreter("/nowhere/python")


def test_command_refuses_contradictions(tmp_path: Path) -> None:
    """--flat and --no-render exclude each other, whole pictures cannot be tiny."""
    result = CliRunner().invoke(app, ["patrol", "-o", str(tmp_path), "--flat", "--no-render"])
    assert isinstance(result.exception, UsageError)
    with pytest.raises(UsageError, match="out of range"):
        PictureJob(1, (10, 10), 1, 1)


def test_sample_patrol_is_whole() -> None:
    """The committed patrol has two passes of 30 frames or more, 8 MB at most, and each file is as the manifest says."""
    files = [p for p in SAMPLE.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 8_000_000
    manifest = tomllib.loads((SAMPLE / "manifest.toml").read_text())
    assert "invented" in manifest["origin"]
    stated = manifest["files"]
    assert set(stated) == {p.relative_to(SAMPLE).as_posix() for p in files} - {"manifest.toml"}
    for name, digest in stated.items():
        assert hashlib.sha256((SAMPLE / name).read_bytes()).hexdigest() == digest, name
    for which in ("pass-1", "pass-2"):
        assert len(list((SAMPLE / which).glob("*.jpg"))) >= 30


def test_sample_patrol_shows_what_it_should() -> None:
    """Garbage, overflow, awning and a shed or stall are seen in it well and from several ranges; half of them go."""
    features = json.loads((SAMPLE / "truth.geojson").read_text())["features"]
    seen: dict[str, int] = {}
    for feature in features:
        properties = feature["properties"]
        if not properties["ignore"] and properties["seen"].get("1", {}).get("frames", 0) >= 4:
            seen[properties["class"]] = seen.get(properties["class"], 0) + 1
    assert {"garbage", "overflow", "awning", "bin"} <= set(seen)
    assert {"shed", "stall"} & set(seen)
    boxes = json.loads((SAMPLE / "truth_boxes.json").read_text())["pass-1"]
    ranges = [b["range_m"] for frame in boxes.values() for b in frame if b["class"] == "overflow" and not b["ignore"]]
    assert min(ranges) < 6
    assert max(ranges) > 18
    kinds = {f["properties"]["kind"] for f in json.loads((SAMPLE / "streets.geojson").read_text())["features"]}
    assert kinds == {"carriageway", "kerb", "pavement", "facade"}


def test_sample_tracks_cover_the_frames() -> None:
    """The product reads both tracks of each pass, and every frame's EXIF time lies inside them."""
    for which in ("pass-1", "pass-2"):
        for name in ("track.csv", "track_rtk.csv"):
            track = read_track(SAMPLE / which / name)
            assert track.start is not None
            with Image.open(sorted((SAMPLE / which).glob("*.jpg"))[-1]) as image:
                times = image.getexif().get_ifd(0x8769)
            taken = datetime.strptime(times[0x9003] + times[0x9011], "%Y:%m:%d %H:%M:%S%z")
            assert 0 < (taken - track.start).total_seconds() < float(track.time_s[-1])


def renderer() -> str:
    """An interpreter with Blender, or a skip that says why."""
    try:
        return find_interpreter()
    except JiejingError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_renderer_agrees_with_the_painter(beat: Scene) -> None:
    """Blender sees the same things in the same places as the painter: camera, lens and ids are wired right."""
    path = renderer()
    scene = empty_scene(beat)
    scene.add("bin", cube(), at(6.0, 0.8))
    scene.add("shed", merge([cube(2.0)]), at(9.0, -1.5))
    scene.add("", box((60.0, 60.0, 0.1), GREY), at(0.0, 0.0, -0.1))
    view = looking(Camera(160, 120, 140.0, 70.0, 64.0, 1.5), np.array([0.0, 0.0, 1.5]), 3.0, -6.0, 2.0)
    with open_renderer(path) as child:
        child.load(scene)
        drawing = child.draw(view, 1, 1)
    painted = boxes_of(scene, view, *paint(scene, view)[:2])
    rendered = boxes_of(scene, view, drawing.ids, drawing.depth)
    assert [b.class_name for b in rendered] == ["bin", "shed"]
    for ours, theirs in zip(painted, rendered, strict=True):
        assert ours.box_xyxy == pytest.approx(theirs.box_xyxy, abs=1.01)
        assert ours.range_m == pytest.approx(theirs.range_m, abs=0.6)


@pytest.mark.slow
def test_rendered_pictures_resume(tmp_path: Path) -> None:
    """A killed run goes on: only the picture that was not finished is drawn again, with the same labels."""
    path = renderer()
    job = PictureJob(2, (96, 64), 1, 6)
    assert make_pictures(job, tmp_path, renderer=path) == 2
    labels = {p.name: p.read_text() for p in (tmp_path / "labels").iterdir()}
    (tmp_path / "truth" / "sim6-00001.json").unlink()
    (tmp_path / "labels" / "sim6-00001.txt").unlink()
    assert make_pictures(job, tmp_path, renderer=path) == 1
    assert {p.name: p.read_text() for p in (tmp_path / "labels").iterdir()} == labels
    assert make_pictures(job, tmp_path, renderer=path) == 0
    for line in "".join(labels.values()).splitlines():
        kind, *shares = line.split()
        assert 0 <= int(kind) < len(CLASSES)
        assert all(0 <= float(v) <= 1 for v in shares)
    with pytest.raises(UsageError, match="another seed"):
        make_pictures(replace(job, seed=7), tmp_path, renderer=path)
