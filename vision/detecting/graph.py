"""A network written down anew so that less of it passes through memory; the same function in exact arithmetic.

A compiler of graphs may fuse what it finds, but does not change weights. Where layers have few channels, as a small
detector's first ones do, what they cost is reading and writing:

- `take_pixels`: the bytes of a picture are taken as they lie, four pixels of a row as twelve channels, and the first
  two convolutions compute two neighbouring columns at once; nothing is transposed, and rows of matrices are full.
- `enlarge_later`: a 1×1 convolution of what was enlarged is the enlarged convolution of it, on a quarter of the places.
- `keep_whole`: halves of a tensor that are glued together again need not be taken apart; a convolution takes the whole,
  with zeros where it had only a half.

What a network does not have, or has in another form (quantised weights, for example), stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float32]
# Layers that work value by value.
_ACTIVATIONS = frozenset({"HSwish", "Swish", "Relu", "Mish", "Gelu", "Sigmoid"})
# Pixels that lie side by side and become one place; the channels that one row of a 16-bit matrix holds.
_CELL, _ROW = 4, 32


def lighter(network: Any, mean: Sequence[float], scale: Sequence[float]) -> Any:
    """An `openvino.Model` of static size, (1, 3, height, width) in floats, as one that takes the bytes of an RGB
    picture (height, width, 3), normalised inside as (pixel - mean) / scale. The given one is used up.

    The input's shape holds these bytes in their order: (1, height, width, 3), or (1, 1, height, 3 · width).
    """
    enlarge_later(network)
    keep_whole(network)
    if not take_pixels(network, mean, scale):
        network = _taking_bytes(network, mean, scale)
    return network


def take_pixels(network: Any, mean: Sequence[float], scale: Sequence[float]) -> bool:
    """Rewrite the input and the first two convolutions, if both are 3×3 with steps of two and an activation lies
    between; whether it was done."""
    from openvino import Type
    from openvino import opset13 as op

    given = network.get_parameters()[0]
    _, channels, height, width = given.output(0).get_shape()
    stem = [*_stem(given)]
    if len(stem) < 4 or channels != 3 or width % _CELL:
        return False
    first, bias, between, second = stem
    if not (_is_step_of_two(first) and _is_step_of_two(second) and _adds_constant(bias)):
        return False
    if between.get_type_name() not in _ACTIVATIONS or _constant(bias).shape != (1, len(_constant(first)), 1, 1):
        return False

    # Column 2j + c of the first layer looks at pixels 4j + 2c - 1 to 4j + 2c + 1: of the cell before and of its own.
    old = _constant(first)
    new = np.zeros((2, len(old), _CELL, 3, 3, 2), np.float32)
    for column in range(2):
        for tap in range(3):
            cell, pixel = divmod(2 * column + tap - 1 + _CELL, _CELL)
            new[column, :, pixel, :, :, cell] = old[..., tap]
    _set_constant(first, new.reshape(2 * len(old), _CELL * 3, 3, 2))
    _set_constant(bias, np.tile(_constant(bias), (1, 2, 1, 1)))
    # Column j of the second layer looks at columns 2j - 1 to 2j + 1 of the first.
    old, new = _constant(second), np.zeros((len(_constant(second)), 2, len(old), 3, 2), np.float32)
    for tap in range(3):
        cell, column = divmod(tap - 1 + 2, 2)
        new[:, column, :, :, cell] = old[..., tap]
    _set_constant(second, new.reshape(len(new), -1, 3, 2))

    taken = op.parameter([1, 1, height, width * 3], Type.u8)
    pixels = op.convert(taken, "f32")
    if any(mean):
        pixels = op.subtract(pixels, op.constant(np.tile(np.array(mean, np.float32), width)))
    pixels = op.divide(pixels, op.constant(np.tile(np.array(scale, np.float32), width)))
    # The reshaping is there so that the transposition, of which nothing is left then, stays behind the arithmetic.
    cells = op.reshape(pixels, op.constant(np.array([1, height, width // _CELL, 3 * _CELL])), False)
    first.input(0).replace_source_output(op.transpose(cells, op.constant(np.array([0, 3, 1, 2]))).output(0))
    network.add_parameters([taken])
    network.remove_parameter(given)
    for layer in (first, second):
        layer.set_attribute("strides", [2, 1])
        layer.set_attribute("pads_end", [1, 0])
    network.validate_nodes_and_infer_types()
    return True


def enlarge_later(network: Any) -> None:
    """Wherever a 1×1 convolution takes tensors glued together of which one was just enlarged (nearest): its part of the
    convolution goes before the enlarging, and the parts are added up."""
    for enlarged in _of_kind(network, "Interpolate"):
        glued = _only_user(enlarged.output(0))
        convolution = glued and _pointwise_of(glued)
        if not glued or not convolution or enlarged.get_attributes()["mode"] != "nearest":
            continue
        low = enlarged.input(0).get_source_output()
        if low.get_shape()[:2] != enlarged.output(0).get_shape()[:2]:
            continue
        weights, at = _constant(convolution), _inputs(glued).index(enlarged.output(0))
        others, parts = _inputs(glued), _channels(glued)
        del others[at]
        enlarged.input(0).replace_source_output(_pointwise(low, weights[:, parts.pop(at)]))
        enlarged.validate_and_infer_types()
        _give(convolution, others, [weights[:, part] for part in parts])
        _add(convolution, enlarged.output(0))
    network.validate_nodes_and_infer_types()


def keep_whole(network: Any) -> None:
    """Wherever a tensor is cut into halves, whose second one goes on, and a 1×1 convolution takes both and what became
    of the second: it takes the whole and the rest, in convolutions of their own that are added up. When the second half
    was added to what became of it, its weights are, and the sum is not made.

    Only where the glued tensor would leave rows of a matrix partly empty, which is what makes it dear."""
    for cut in _of_kind(network, "VariadicSplit", "Split"):
        whole, halves = cut.input(0).get_source_output(), cut.outputs()
        glued = _only_user(halves[0])
        convolution = glued and _pointwise_of(glued)
        if not glued or not convolution or _inputs(glued)[:2] != halves or len(_inputs(glued)) != 3:
            continue
        if glued.output(0).get_shape()[1] % _ROW == 0:
            continue
        rest = _inputs(glued)[2]
        onward = [user.get_node() for user in _users(halves[1]) if user.get_node() not in (glued, rest.get_node())]
        if not all(map(_is_plain, onward)):
            continue
        weights, (first, second, third) = _constant(convolution), _channels(glued)
        if second.stop != whole.get_shape()[1] or rest in halves:
            continue
        of_whole, of_rest = weights[:, : second.stop].copy(), weights[:, third]
        if halves[1] in _inputs(rest.get_node()):
            became = [output for output in _inputs(rest.get_node()) if output != halves[1]]
            if rest.get_node().get_type_name() != "Add" or _only_user(rest) != glued:
                continue
            if len(became) != 1 or became[0].get_shape() != halves[1].get_shape():
                continue
            of_whole[:, second] += of_rest
            (rest,) = became
        for node in onward:
            kernels = _constant(node)
            _give(node, [whole], [np.pad(kernels, ((0, 0), (first.stop, 0), (0, 0), (0, 0)))])
        _give(convolution, [rest], [of_rest])
        _add(convolution, _pointwise(whole, of_whole))
    network.validate_nodes_and_infer_types()


def _taking_bytes(network: Any, mean: Sequence[float], scale: Sequence[float]) -> Any:
    """The network behind a normalisation that takes (1, height, width, 3) bytes."""
    import openvino as ov
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(network)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    steps.input().model().set_layout(ov.Layout("NCHW"))
    convert = steps.input().preprocess().convert_element_type(ov.Type.f32)
    if any(mean):
        convert = convert.mean(list(mean))
    convert.scale(list(scale))
    return steps.build()


def _of_kind(network: Any, *kinds: str) -> list[Any]:
    return [node for node in network.get_ordered_ops() if node.get_type_name() in kinds]


def _inputs(node: Any) -> list[Any]:
    """The outputs that a node takes."""
    return [taken.get_source_output() for taken in node.inputs()]


def _users(output: Any) -> list[Any]:
    """The inputs that take this output; those that only want its shape, which is static, do not count."""
    return [taken for taken in output.get_target_inputs() if taken.get_node().get_type_name() != "ShapeOf"]


def _only_user(output: Any) -> Any | None:
    """The node that alone takes this output."""
    users = _users(output)
    return users[0].get_node() if len(users) == 1 else None


def _stem(node: Any) -> Iterator[Any]:
    """The four nodes behind this one, as long as each alone takes what the one before it yields."""
    for _ in range(4):
        node = _only_user(node.output(0))
        if node is None:
            return
        yield node


def _constant_node(node: Any, index: int = 1) -> Any | None:
    """The constant that a node takes as it is, or widened from fewer bits."""
    source = node.input(index).get_source_output().get_node()
    if source.get_type_name() == "Convert":
        source = source.input(0).get_source_output().get_node()
    return source if source.get_type_name() == "Constant" else None


def _constant(node: Any) -> Weights:
    """The constant that a node takes second: a convolution's weights, a bias."""
    source: Any = _constant_node(node)
    return np.asarray(source.data, np.float32)


def _set_constant(node: Any, values: Weights) -> None:
    from openvino import opset13 as op

    node.input(1).replace_source_output(op.constant(np.ascontiguousarray(values, np.float32)).output(0))


def _is_plain(node: Any) -> bool:
    """Whether this is a convolution with weights that can be changed."""
    return node.get_type_name() == "Convolution" and _constant_node(node) is not None


def _is_step_of_two(node: Any) -> bool:
    form = node.get_attributes()
    return (
        _is_plain(node)
        and _constant(node).shape[2:] == (3, 3)
        and [*form["strides"], *form["dilations"]] == [2, 2, 1, 1]
        and [*form["pads_begin"], *form["pads_end"]] == [1, 1, 1, 1]
        and form["auto_pad"] == "explicit"
    )


def _adds_constant(node: Any) -> bool:
    return node.get_type_name() == "Add" and _constant_node(node) is not None


def _pointwise_of(glued: Any) -> Any | None:
    """The plain 1×1 convolution that alone takes what this node glues together along the channels."""
    if glued.get_type_name() != "Concat" or glued.get_attributes()["axis"] != 1:
        return None
    node = _only_user(glued.output(0))
    if not node or not _is_plain(node) or _constant(node).shape[2:] != (1, 1):
        return None
    form = node.get_attributes()
    padding = (*form["pads_begin"], *form["pads_end"])
    return node if set(form["strides"]) == {1} and not any(padding) else None


def _channels(glued: Any) -> list[slice]:
    """Which channels each input of a node that glues fills."""
    ends = np.cumsum([0, *(output.get_shape()[1] for output in _inputs(glued))]).tolist()
    return [slice(*bounds) for bounds in pairwise(ends)]


def _pointwise(output: Any, weights: Weights) -> Any:
    """What a 1×1 convolution without bias makes of an output."""
    from openvino import opset13 as op

    constant = op.constant(np.ascontiguousarray(weights))
    return op.convolution(output, constant, [1, 1], [0, 0], [0, 0], [1, 1]).output(0)


def _give(convolution: Any, outputs: list[Any], weights: list[Weights]) -> None:
    """Let a convolution take other outputs, glued together, with these weights."""
    from openvino import opset13 as op

    taken = op.concat(outputs, 1).output(0) if len(outputs) > 1 else outputs[0]
    convolution.input(0).replace_source_output(taken)
    _set_constant(convolution, np.concatenate(weights, 1))


def _add(convolution: Any, output: Any) -> None:
    """Add an output to what a convolution yields, behind its bias, so that both are fused into it."""
    from openvino import opset13 as op

    user = _only_user(convolution.output(0))
    end = user.output(0) if user and _adds_constant(user) else convolution.output(0)
    users = _users(end)
    total = op.add(end, output).output(0)
    for user in users:
        user.replace_source_output(total)
