"""A published model's weights as a start for training: read back from its ONNX file into the network.

The file holds the network as it is served: norms folded into the convolutions, large weights in float16, and one of the
two heads. Folded norms become identities with the bias, and the missing head starts as a copy of the one that is there.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.errors import TrainingError

# The one-to-many and the one-to-one branch of each head, as the network names them.
TWINS = {"cv2": "one2one_cv2", "one2one_cv2": "cv2", "cv3": "one2one_cv3", "one2one_cv3": "cv3"}


def onnx_graph(folder: Path) -> Any:
    """The network of a model folder as its ONNX file has it. Raises TrainingError when the folder holds none."""
    import onnx

    try:
        table = tomllib.loads((folder / "model.toml").read_text(encoding="utf-8"))
        path = folder / str(table["weights"]["onnx"]["file"])
        return onnx.load(str(path)).graph
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(
            f"{folder}: no ONNX weights to start from ({error})", remedy="name a model folder or a checkpoint"
        ) from None


def onnx_activation(graph: Any) -> str:
    """The activation of a network's convolutions, named as in `TrainConfig.activation`."""
    kinds = {node.op_type for node in graph.node}
    return "hardswish" if "HardSwish" in kinds else "relu" if "Relu" in kinds else "silu"


def onnx_weights(graph: Any) -> dict[str, torch.Tensor]:
    """All weights of a network by their name, float32."""
    from onnx import numpy_helper

    return {
        tensor.name.removesuffix("_half"): torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in graph.initializer
        if tensor.name.startswith("model.")
    }


def with_both_heads(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights, and for each branch of the head that is missing a copy of its twin."""
    found = dict(weights)
    head = f"model.{max(int(name.split('.')[1]) for name in weights)}."
    for name, value in weights.items():
        branch, _, rest = name.removeprefix(head).partition(".")
        if name.startswith(head) and branch in TWINS:
            found.setdefault(f"{head}{TWINS[branch]}.{rest}", value.clone())
    return found


def load_folded(model: nn.Module, graph: Any, folder: Path) -> None:
    """Put a network's weights into one of the same architecture; `folder`, where it is from, for the error.

    Raises TrainingError when they do not fit.
    """
    weights = with_both_heads(onnx_weights(graph))
    state: dict[str, Any] = model.state_dict()
    try:
        for name, module in model.named_modules():
            norm = getattr(module, "bn", None)
            if isinstance(norm, nn.BatchNorm2d):
                # identity: (x − 0) / √(1 + ε) · √(1 + ε) + bias
                state[f"{name}.bn.weight"].fill_((1 + norm.eps) ** 0.5)
                state[f"{name}.bn.bias"].copy_(weights.pop(f"{name}.conv.bias"))
                state[f"{name}.bn.running_mean"].zero_()
                state[f"{name}.bn.running_var"].fill_(1)
                state[f"{name}.conv.weight"].copy_(weights.pop(f"{name}.conv.weight"))
        for name in list(weights):
            state[name].copy_(weights.pop(name))
    except (KeyError, RuntimeError) as error:
        raise TrainingError(
            f"{folder}: its weights are not those of this network ({error})",
            remedy="start from a model folder of the same architecture, or from a checkpoint",
        ) from None
    model.load_state_dict(state)
