"""How large what goes into each matrix gets, and what it is divided by before it is rounded."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelcache.embedding.base import usable_cores
from modelcache.embedding.onnx_session import OnnxSession
from modelcache.model_building.encoder import Encoder, Floats, matrix_inputs

SAMPLE = Path(__file__).with_name("sample.txt")
# How much of the unevenness goes from the inputs into the weights. Of 0.5 to 0.85, the nearest to float32.
STRENGTH = 0.75
LEAST = 1e-5


def shown_states(encoder: Encoder) -> list[str]:
    """Return the names of all that goes into a matrix, which a graph must show for ``smoothing``."""
    return list(dict.fromkeys(source for source, _ in matrix_inputs(encoder).values()))


def smoothing(
    encoder: Encoder, graph: bytes, samples: Iterable[Mapping[str, NDArray[Any]]]
) -> dict[str, Floats]:
    """Return what each input of each matrix is divided by, from how large it gets in sample inputs.

    ``graph`` is in float32 and shows the states of ``shown_states``.
    """
    shown = shown_states(encoder)
    largest = {name: np.full(1, LEAST, np.float32) for name in shown}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(graph)
        session = OnnxSession(path, usable_cores())
        for sample in samples:
            for name, state in zip(shown, session.run(sample, shown), strict=True):
                largest[name] = np.maximum(largest[name], np.abs(state[0]).max(axis=0))
    return {
        name: _factors(largest[source], np.abs(weight).max(axis=0))
        for name, (source, weight) in matrix_inputs(encoder).items()
    }


def sample_texts() -> list[str]:
    """Return questions of many kinds, written for this."""
    return SAMPLE.read_text(encoding="utf-8").splitlines()


def _factors(inputs: Floats, weights: Floats) -> Floats:
    """Return powers of two: dividing by them rounds nothing, and a build anywhere gives the same."""
    exponents = STRENGTH * np.log2(inputs) - (1 - STRENGTH) * np.log2(np.maximum(weights, LEAST))
    factors: Floats = np.exp2(np.rint(exponents - exponents.mean())).astype(np.float32)
    return factors
