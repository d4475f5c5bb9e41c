"""One ONNX Runtime session, as every embedder on it opens and runs it."""

from collections.abc import Mapping, Sequence
from ctypes import CDLL
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelcache.embedding.base import usable_cores
from modelcache.errors import ConfigError, EmbeddingError

ERRORS_ONLY = 3
# Measured on two cores with e5: a second thread takes a third off the time of a lone question, and costs
# nothing where two are computed at once, since each then keeps its own core busy. More threads wait for
# each other more than they help: a question has few tokens.
MOST_THREADS = 2


def threads_of_a_text(configured: int) -> int:
    """Return how many threads compute one text: the setting, or for 0 two where there are two cores."""
    return configured or min(MOST_THREADS, usable_cores())


class OnnxSession:
    """A graph that is loaded; safe to run from many threads, not to be carried through a fork.

    All threads of a process share its weights.
    """

    def __init__(self, path: Path, threads: int) -> None:
        """Load the graph; ConfigError where the file is damaged or the package is not installed."""
        try:
            runtime: Any = import_module("onnxruntime")
        except ImportError as exc:
            raise ConfigError("the package 'onnxruntime' is not installed") from exc
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # An arena keeps the memory of the longest text that ever came, and is hardly faster.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        # A thread that spins for more work takes a core from whoever serves the requests.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._failures = _failures(runtime)
        try:
            self._session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except self._failures as exc:
            raise ConfigError(f"{path} is damaged, or no ONNX graph that can be run here") from exc
        give_memory_back()
        self.input_types: dict[str, str] = {
            one.name: one.type.removeprefix("tensor(").removesuffix(")") for one in self._session.get_inputs()
        }
        """What numpy calls the type of each input, such as int64."""
        self.inputs: tuple[str, ...] = tuple(self.input_types)
        self.outputs: tuple[str, ...] = tuple(one.name for one in self._session.get_outputs())

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the named outputs; EmbeddingError when the graph fails on these inputs."""
        try:
            found: list[NDArray[np.float32]] = self._session.run(outputs, inputs)
        except self._failures as exc:
            raise EmbeddingError("the ONNX graph failed on a text") from exc
        return found


def give_memory_back() -> None:
    """Return to the system what reading a graph took for a moment, as much again as it keeps.

    glibc holds freed memory until something above it is freed too, which here is never.
    """
    trim = getattr(CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _failures(runtime: Any) -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises; its exceptions have no class in common."""
    state = vars(runtime.capi.onnxruntime_pybind11_state).values()
    own = [kind for kind in state if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)
