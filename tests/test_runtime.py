"""The port to the machine: what stands in for a GPU gives what the CPU gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests import pictures
from vision.detecting.detector import Detector
from vision.detecting.model import load_model
from vision.detecting.runtime import CpuRuntime, GpuRuntime
from vision.detecting.workers import Job, Workers
from vision.errors import ModelError
from vision.shipped import model_folder

ort = pytest.importorskip("onnxruntime", reason="onnxruntime comes with the [dev] extra")


def test_batches_from_many_threads_give_what_one_picture_gives() -> None:
    """Eight threads ask for pictures of two input sizes at once: each gets the output of its own picture, equal to
    float32 on the CPU within two thousandths of a score and, but for the vaguest places, half a pixel. (ONNX Runtime's
    CPU provider stands in for the GPU's, which could not be run.)"""
    model = load_model(model_folder(), "openvino")  # the same weights as in the ONNX file, on whichever CPU
    gpu = GpuRuntime(model, batch=4, providers=("CPUExecutionProvider",))
    cpu = CpuRuntime(model, threads=1, cores=1, exact=True)
    placed = [pictures.street(160 + 64 * (i % 2), 160, seed=i) for i in range(12)]
    with ThreadPoolExecutor(8) as pool:
        for one, output in zip(placed, pool.map(gpu.infer, placed), strict=True):
            expected = cpu.infer(one)
            assert output.shape == expected.shape
            assert np.abs(output[4:] - expected[4:]).max() < 2e-3
            assert np.percentile(np.abs(output[:4] - expected[:4]), 99) < 0.5


def test_without_a_gpu_the_error_says_what_to_do(tmp_path: Path) -> None:
    """Asking for a GPU where there is none is one clear error, in the process itself and from the workers'."""
    if set(ort.get_available_providers()) & {"TensorrtExecutionProvider", "CUDAExecutionProvider"}:
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelError, match="no GPU") as caught:
        Detector.load(device="gpu")
    assert "onnxruntime-gpu" in caught.value.remedy
    with Workers(device="gpu") as workers, pytest.raises(ModelError, match="no GPU"):
        workers.look(Job("a", data=pictures.jpeg())).result(timeout=60)
