"""The network written down anew computes what it computed before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from tests import pictures
from vision.detecting.graph import enlarge_later, keep_whole, lighter, take_pixels
from vision.detecting.model import load_model
from vision.pictures.media import decode, read_picture
from vision.pictures.resize import resize
from vision.shipped import dataset_folder, model_folder

F32 = {"INFERENCE_PRECISION_HINT": "f32"}


def outputs(network: Any, fed: np.ndarray) -> np.ndarray:
    engine = ov.Core().compile_model(network, "CPU", F32)
    return np.array(engine(fed.reshape(engine.inputs[0].shape))[0])


def shipped(wh: tuple[int, int], weights: str = "openvino") -> tuple[Any, Any]:
    model = load_model(model_folder(), weights)
    network = ov.Core().read_model(model.xml, model.bin)
    network.reshape([1, 3, wh[1], wh[0]])
    return model, network


def count(network: Any, kind: str) -> int:
    """How many nodes of a kind yield pictures' values; those that compute shapes do not count."""
    nodes = (node for node in network.get_ordered_ops() if node.get_type_name() == kind)
    return sum(len(node.output(0).get_partial_shape()) == 4 for node in nodes)


@pytest.mark.parametrize("wh", [(320, 256), (256, 352)])
def test_the_shipped_network_gives_what_it_gave(wh: tuple[int, int]) -> None:
    """In float32 all scores and boxes of a street are equal but for rounding, and each rewrite has found its
    place: the input is bytes as they lie, and of the two enlarged tensors and one pair of halves none is glued."""
    frame = min(dataset_folder("sample-patrol").rglob("pass-1/**/*.jpg"))
    pixels = resize(decode(frame.read_bytes(), read_picture(frame)), wh)
    model, network = shipped(wh)
    planes = (pixels.astype(np.float32) / 255).transpose(2, 0, 1)
    expected = outputs(network, planes)
    glued, cut = count(network, "Concat"), count(network, "VariadicSplit")
    light = lighter(network, model.mean, model.scale)
    assert light.inputs[0].get_shape() == [1, 1, wh[1], 3 * wh[0]]
    assert count(light, "Concat") == glued - 3
    assert count(light, "VariadicSplit") == cut - 1
    found = outputs(light, pixels)
    assert expected[0, 4:].max() > 0.1
    assert np.abs(found[:, 4:] - expected[:, 4:]).max() < 1e-5
    assert np.abs(found[:, :4] - expected[:, :4]).max() < 5e-3


def test_quantised_weights_stay_as_they_are() -> None:
    """The INT8 network's weights are no plain constants: it only gets the normalisation, and its output is the same."""
    pixels = pictures.street(320, 256, seed=4)
    model, network = shipped((320, 256), "int8")
    expected = outputs(network, (pixels.astype(np.float32) / 255).transpose(2, 0, 1))
    light = lighter(network, model.mean, model.scale)
    assert light.inputs[0].get_shape() == [1, 256, 320, 3]
    assert np.abs(outputs(light, pixels) - expected).max() < 0.5


def convolved(data: Any, filters: int, size: int, step: int, seed: int) -> Any:
    weights = np.random.default_rng(seed).normal(0, 0.3, (filters, data.get_shape()[1], size, size))
    pad = [size // 2] * 2
    return op.convolution(data, op.constant(weights.astype(np.float32)), [step] * 2, pad, pad, [1, 1]).output(0)


def biased(data: Any, seed: int) -> Any:
    bias = np.random.default_rng(seed).normal(0, 1, (1, data.get_shape()[1], 1, 1)).astype(np.float32)
    return op.relu(op.add(data, op.constant(bias))).output(0)


def taking(*shape: int) -> Any:
    return op.parameter(list(shape), ov.Type.f32)


def test_pixels_with_a_mean_keep_their_black_edges() -> None:
    """What a convolution pads is zero after normalisation, whatever the mean; a stem with means and unequal scales
    gives the same values at every place."""
    given = taking(1, 3, 64, 96)
    stem = convolved(biased(convolved(given.output(0), 8, 3, 2, 0), 1), 12, 3, 2, 2)
    network = ov.Model([stem], [given], "stem")
    mean, scale = (10.0, 120.0, 200.0), (50.0, 60.0, 70.0)
    pixels = np.random.default_rng(5).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    expected = outputs(network, ((pixels - np.array(mean)) / scale).astype(np.float32).transpose(2, 0, 1))
    assert take_pixels(network, mean, scale)
    assert np.abs(outputs(network, pixels) - expected).max() < 1e-3


@pytest.mark.parametrize("step", [1, 2])
def test_other_stems_get_the_normalisation_only(step: int) -> None:
    """A stem whose second convolution makes single steps, or whose first is followed by pooling, is left alone."""
    given = taking(1, 3, 32, 32)
    first = biased(convolved(given.output(0), 8, 3, 2, 0), 1)
    between = first if step == 1 else op.max_pool(first, [1, 1], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    network = ov.Model([convolved(between, 8, 3, step, 2)], [given], "stem")
    pixels = np.random.default_rng(6).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    expected = outputs(network, (pixels / 255).astype(np.float32).transpose(2, 0, 1))
    light = lighter(network, (0.0,) * 3, (255.0,) * 3)
    assert light.inputs[0].get_shape() == [1, 32, 32, 3]
    assert np.abs(outputs(light, pixels) - expected).max() < 1e-4


def changed(rewrite: Callable[[Any], None], network: Any) -> float:
    """The largest difference that a rewrite makes to what a network yields for random values."""
    fed = np.random.default_rng(8).normal(0, 1, network.inputs[0].get_shape()).astype(np.float32)
    expected = outputs(network, fed)
    rewrite(network)
    return float(np.abs(outputs(network, fed) - expected).max())


def pointwise(*glued: Any) -> Any:
    return biased(convolved(op.concat([*glued], 1).output(0), 24, 1, 1, 6), 7)


@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize(("width", "rewritten"), [(8, True), (32, False)])
def test_halves_are_not_cut_where_gluing_is_dear(added: bool, width: int, rewritten: bool) -> None:
    """With and without a sum around the middle; where the glued channels fill whole rows, nothing changes."""
    given = taking(1, 4, 20, 24)
    whole = biased(convolved(given.output(0), 2 * width, 1, 1, 0), 1)
    first, second = op.variadic_split(whole, op.constant(1), op.constant([width, width])).outputs()
    onward = biased(convolved(biased(convolved(second, 4, 3, 1, 2), 3), width, 3, 1, 4), 5)
    rest = op.add(second, onward).output(0) if added else onward
    network = ov.Model([pointwise(first, second, rest)], [given], "halves")
    assert changed(keep_whole, network) < 1e-3
    assert (count(network, "VariadicSplit") == 0) == rewritten


@pytest.mark.parametrize("odd", ["rows", "twice", "doubled", "constant"])
def test_other_cuts_stay(odd: str) -> None:
    """A cut through the rows, a half that is glued in twice, one that is added to itself, one with a constant added."""
    given = taking(1, 4, 20, 24)
    whole = biased(convolved(given.output(0), 16, 1, 1, 0), 1)
    axis, parts = (2, [10, 10]) if odd == "rows" else (1, [8, 8])
    first, second = op.variadic_split(whole, op.constant(axis), op.constant(parts)).outputs()
    shifted = op.add(second, op.constant(np.ones((1, second.get_shape()[1], 1, 1), np.float32))).output(0)
    rest = {
        "rows": biased(convolved(second, 8, 3, 1, 2), 3),
        "twice": second,
        "doubled": op.add(second, second).output(0),
        "constant": shifted,
    }[odd]
    network = ov.Model([pointwise(first, second, rest)], [given], "cut")
    assert changed(keep_whole, network) < 1e-3
    assert count(network, "VariadicSplit") == 1


@pytest.mark.parametrize(
    ("mode", "sides", "rewritten"),
    [("nearest", [2, 3], True), ("linear_onnx", [2, 3], False), ("nearest", [1, 3], False)],
)
def test_only_places_that_are_repeated_can_be_enlarged_later(mode: str, sides: list[int], rewritten: bool) -> None:
    """The nearest value commutes with what follows, whatever is glued beside it, twice too; what is interpolated does
    not, nor do channels that are repeated."""
    given = taking(1, 4, 16, 20)
    small = biased(convolved(given.output(0), 8, 3, 2, 0), 1)
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    twice, axes = op.constant(np.array([2, 2], np.float32)), op.constant(np.array(sides))
    large = op.interpolate(small, twice, mode, "scales", axes=axes, **how).output(0)
    beside = biased(convolved(given.output(0), 6, 1, 1, 2), 3)
    if sides[0] == 1:
        beside = biased(convolved(op.max_pool(beside, [2, 1], [1, 1], [0, 0], [0, 0], [2, 1]).output(0), 6, 1, 1, 4), 5)
    network = ov.Model([pointwise(large, beside, beside)], [given], "enlarged")
    before = count(network, "Convolution")
    assert changed(enlarge_later, network) < 1e-4
    assert count(network, "Convolution") == before + rewritten
