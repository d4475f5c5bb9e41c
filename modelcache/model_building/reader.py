"""The files of the reader: its graph in 8 bits, and what it must give for a few pairs."""

from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from modelcache.embedding.e5 import E5Embedder
from modelcache.model_building.encoder import Linear, PairEncoder, pair_graph
from modelcache.model_building.files import describe, write
from modelcache.model_building.smoothing import sample_texts, shown_states, smoothing
from modelcache.similarity_evaluation.paraphrase import (
    GRAPH,
    STATES,
    ParaphraseReader,
    kept_pair,
    pair_inputs,
)

VERSION = 2
KEPT = (
    ("How do I reset my password?", "what is the way to reset my password"),
    ("怎么重置密码？", "如何重置密码"),
    ("Is it safe to fly with a cold?", "Is it safe to fly without a cold?"),
)


def write_reader(
    folder: Path, encoder: PairEncoder, head: Linear, embedder: E5Embedder, float32: bool = False
) -> str:
    """Write the graph and what is said of it, for the states of an open embedder; returns its name."""
    folder.mkdir(parents=True, exist_ok=True)
    factors = None
    if not float32:
        sources = [name for name in shown_states(encoder.layers, STATES) if name != STATES]
        shown = pair_graph(encoder, head, shown=sources)
        # Each with the next: what the two say matters little to how large the states get.
        states = pairwise([embedder.states(text) for text in sample_texts()])
        factors = smoothing(encoder.layers, STATES, shown, (pair_inputs(*pair) for pair in states))
    made = pair_graph(encoder, head, factors)
    write(folder / GRAPH, made)
    digest = sha256(made).hexdigest()
    name = f"reader-{'float32' if float32 else 'int8'}-{VERSION}-{digest[:8]}"
    describe(folder, name, digest, {})
    describe(folder, name, digest, _kept(folder, embedder))
    return name


def _kept(folder: Path, embedder: E5Embedder) -> dict[str, list[float]]:
    reader = ParaphraseReader(embedder, folder=folder)
    reader.open()
    try:
        read = [reader.log_odds(*pair) for pair in KEPT]
    finally:
        reader.close()
    return {kept_pair(*pair): [round(found or 0.0, 4)] for pair, found in zip(KEPT, read, strict=True)}
