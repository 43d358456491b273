"""The port between the detector and the machine: placed pictures in, the network's raw output out.

On a CPU OpenVINO, one picture at a time in as many threads as there are; on a GPU ONNX Runtime with TensorRT or CUDA,
the pictures of many threads in one batch. No torch.
"""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from vision.detecting.graph import lighter
from vision.detecting.model import Model
from vision.errors import ModelError

Pixels = npt.NDArray[np.uint8]
Output = npt.NDArray[np.float32]
# The best first; TensorRT builds its engine when a size is first seen, which takes minutes, and keeps it.
GPU_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider")


class Runtime(Protocol):
    """What runs the network. Safe to share between threads."""

    def infer(self, placed: Pixels) -> Output:
        """One picture (height, width, 3), RGB 0 to 255, of an input size: the network's output without the batch, which
        may be overwritten by the same thread's next picture."""

    def prepare(self, input_wh: tuple[int, int]) -> None:
        """Make ready in this thread what pictures of an input size need. Raises ModelError when that can't be."""


class CpuRuntime:
    """OpenVINO: a static engine per input size and calling thread, which does the work itself.

    Engines of one stream run in the thread that calls. One engine with many streams would have threads of its own, and
    a core that waits for the other side to wake up is idle for a twentieth of the time. Only the first thread compiles;
    the others take over what it made.
    """

    # The binding sets itself up when arrays first pass through it. Two threads doing that at once can block each other
    # for ever: one holds a C++ guard and wants Python's lock, the other holds that lock and wants the guard. So until
    # a picture has gone through, one thread at a time passes arrays, in all runtimes of a process.
    _binding = threading.Lock()
    _used = False

    def __init__(self, model: Model, *, threads: int, cores: int, exact: bool = False) -> None:
        """`threads` that call at once share `cores`; `exact`: what is not INT8 is computed in float32."""
        import openvino as ov

        self._model = model
        # Plain requests, never the asynchronous queue, which can hang.
        self._options: dict[str, Any] = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": max(1, cores // threads)}
        # Threads that are tied to a core wait there for whoever else is at work on it, while another core is idle.
        self._options["ENABLE_CPU_PINNING"] = False
        if exact:
            self._options["INFERENCE_PRECISION_HINT"] = "f32"
        self._core = ov.Core()
        self._compiled: dict[tuple[int, int], Future[bytes]] = {}
        self._lock = threading.Lock()
        self._local = threading.local()

    def infer(self, placed: Pixels) -> Output:
        """As the port says; the output lasts until this thread's next call."""
        request = self._request((placed.shape[1], placed.shape[0]))
        if CpuRuntime._used:
            return _run(request, placed)
        with CpuRuntime._binding:
            output = _run(request, placed)
            CpuRuntime._used = True
            return output

    def prepare(self, input_wh: tuple[int, int]) -> None:
        self._request(input_wh)

    def _request(self, input_wh: tuple[int, int]) -> Any:
        """This thread's request for an input size."""
        requests = self._local.__dict__.setdefault("requests", {})
        if input_wh not in requests:
            requests[input_wh] = self._engine(input_wh).create_infer_request()
        return requests[input_wh]

    def _engine(self, input_wh: tuple[int, int]) -> Any:
        """An engine for one input size: takes a picture's bytes, normalises inside."""
        with self._lock:
            made = self._compiled.get(input_wh)
            if mine := made is None:
                made = self._compiled[input_wh] = Future()
        if not mine:
            return self._core.import_model(made.result(), "CPU", self._options)
        try:
            engine = self._compile(input_wh)
            made.set_result(engine.export_model().getvalue())
            return engine
        except Exception as error:
            with self._lock:
                del self._compiled[input_wh]
            made.set_exception(error)
            raise

    def _compile(self, input_wh: tuple[int, int]) -> Any:
        try:
            with CpuRuntime._binding:
                network = self._core.read_model(self._model.xml, self._model.bin)
                network.reshape([1, 3, input_wh[1], input_wh[0]])
                network = lighter(network, self._model.mean, self._model.scale)
            return self._core.compile_model(network, "CPU", self._options)
        except RuntimeError as error:
            raise ModelError(
                f"{self._model.xml} cannot be compiled for {input_wh[0]}×{input_wh[1]} ({error})",
                remedy="export the model again with a dynamic height and width",
            ) from error


def _run(request: Any, placed: Pixels) -> Output:
    import openvino as ov

    # Neither copied in nor out: the placed picture outlives the call, and the output is read before the next.
    request.set_input_tensor(ov.Tensor(placed.reshape(request.model_inputs[0].shape), shared_memory=True))
    request.infer()
    output: Output = request.get_output_tensor().data[0]
    return output


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    placed: Pixels
    answer: Future[Output] = field(default_factory=Future)


class GpuRuntime:
    """ONNX Runtime: what several threads ask for at once goes to the device as one batch of one input size.

    Pictures wait for nobody: a batch is whatever has come while the last one ran. Files with a fixed batch of one (from
    exports before this) are run one by one.
    """

    def __init__(self, model: Model, *, batch: int = 16, providers: tuple[str, ...] = GPU_PROVIDERS) -> None:
        """Raises ModelError when ONNX Runtime, its GPU provider or the model's ONNX file is missing."""
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise ModelError("ONNX Runtime is not installed", remedy="pip install 'jiejing[gpu]'") from error
        usable = [name for name in providers if name in ort.get_available_providers()]
        if not usable:
            raise ModelError(
                f"ONNX Runtime knows no GPU here, only {', '.join(ort.get_available_providers())}",
                remedy="install onnxruntime-gpu and the driver, or use the CPU",
            )
        if model.onnx is None:
            raise ModelError(f"{model.folder} holds no ONNX file", remedy="export the model again")
        self._session = ort.InferenceSession(str(model.onnx), providers=usable)
        self._input = self._session.get_inputs()[0].name
        fixed = self._session.get_inputs()[0].shape[0] == 1
        self._batch = 1 if fixed else batch
        self._mean, self._scale = (np.array(v, np.float32).reshape(3, 1, 1) for v in (model.mean, model.scale))
        self._asked: queue.SimpleQueue[_Asked] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="gpu", daemon=True).start()

    def prepare(self, input_wh: tuple[int, int]) -> None:
        """Nothing: an engine is built when its first picture comes, for all threads."""

    def infer(self, placed: Pixels) -> Output:
        asked = _Asked(placed)
        self._asked.put(asked)
        return asked.answer.result()

    def _run(self) -> None:
        waiting: list[_Asked] = []
        while True:
            waiting = waiting or [self._asked.get()]
            while not self._asked.empty():
                waiting.append(self._asked.get())
            alike = [one for one in waiting if one.placed.shape == waiting[0].placed.shape][: self._batch]
            taken = {id(one) for one in alike}
            waiting = [one for one in waiting if id(one) not in taken]
            try:
                outputs = self._together([one.placed for one in alike])
            except Exception as error:  # noqa: BLE001, whoever asked must hear of it
                for one in alike:
                    one.answer.set_exception(error)
                continue
            for one, output in zip(alike, outputs, strict=True):
                one.answer.set_result(output)

    def _together(self, placed: list[Pixels]) -> Output:
        pictures = np.stack(placed).transpose(0, 3, 1, 2).astype(np.float32)
        pictures -= self._mean
        pictures /= self._scale
        return np.asarray(self._session.run(None, {self._input: pictures})[0], dtype=np.float32)
