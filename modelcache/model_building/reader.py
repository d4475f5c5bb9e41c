"""The files of the reader: its graph in 8 bits, and what it must give for a few pairs."""

from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from modelcache.embedding.e5_inputs import E5Inputs
from modelcache.model_building.encoder import Encoder, Linear, pair_graph
from modelcache.model_building.files import describe, write
from modelcache.model_building.smoothing import sample_texts, shown_states, smoothing
from modelcache.similarity_evaluation.paraphrase import (
    AVERAGING,
    GRAPH,
    INPUT,
    MOST_TOKENS,
    OUTPUT,
    ParaphraseReader,
    arranged,
    averaging,
    kept_pair,
)

VERSION = 1
KEPT = (
    ("How do I reset my password?", "what is the way to reset my password"),
    ("怎么重置密码？", "如何重置密码"),
    ("Is it safe to fly with a cold?", "Is it safe to fly without a cold?"),
)


def write_reader(
    folder: Path, encoder: Encoder, head: Linear, inputs: E5Inputs, float32: bool = False
) -> str:
    """Write the graph and what is said of it; returns its name."""
    folder.mkdir(parents=True, exist_ok=True)
    factors = None
    if not float32:
        shown = pair_graph(encoder, head, INPUT, AVERAGING, OUTPUT, shown=shown_states(encoder))
        texts = sample_texts()
        # Each with the next: what the two say matters little to how large the states get.
        pairs = pairwise(texts)
        factors = smoothing(encoder, shown, (_read(inputs, pair) for pair in pairs))
    made = pair_graph(encoder, head, INPUT, AVERAGING, OUTPUT, factors)
    write(folder / GRAPH, made)
    digest = sha256(made).hexdigest()
    name = f"reader-{'float32' if float32 else 'int8'}-{VERSION}-{digest[:8]}"
    describe(folder, name, digest, {})
    describe(folder, name, digest, _kept(folder))
    return name


def _read(inputs: E5Inputs, texts: tuple[str, str]) -> dict[str, NDArray[Any]]:
    asked, cached = texts
    pair = arranged(inputs, inputs.tokens(asked), inputs.tokens(cached), MOST_TOKENS)
    return {INPUT: inputs.states(pair.ids), AVERAGING: averaging(pair)}


def _kept(folder: Path) -> dict[str, list[float]]:
    reader = ParaphraseReader(folder=folder)
    reader.open()
    try:
        read = [reader.log_odds(*pair) for pair in KEPT]
    finally:
        reader.close()
    return {kept_pair(*pair): [round(found or 0.0, 4)] for pair, found in zip(KEPT, read, strict=True)}
