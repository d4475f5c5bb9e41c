"""Any encoder that was exported to ONNX, with its tokenizer.json; no torch."""

import mmap
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelcache.embedding.base import UNKNOWN_MODEL, Embedder, usable_cores
from modelcache.embedding.folder import (
    CONFIG_FILE,
    DEFAULT_POSITIONS,
    TOKENIZER_CONFIG_FILE,
    check_vectors,
    check_vocabulary,
    fingerprint,
    read_json,
    read_modules,
    read_object,
    read_sentence_config,
    resolve_folder,
    whole_number,
    window_limit,
)
from modelcache.embedding.onnx_session import OnnxSession, threads_of_a_text
from modelcache.embedding.pooling import MEAN, MODES_BY_SETTING, Pooling, average, read_pooling
from modelcache.embedding.text import clean, ranges_before_clean, safe_name
from modelcache.embedding.tokens import add_lower_case, unknown_ranges
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.packages import needs
from modelcache.records.vectors import Embeddings, normalise_rows
from modelcache.settings import Settings

TOKENIZER_FILE = "tokenizer.json"
GRAPH_FOLDER = "onnx"
GRAPH_FILE = "model.onnx"
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
POOLED_OUTPUT = "sentence_embedding"
STATES_OUTPUTS = ("token_embeddings", "last_hidden_state")
POOLED_BY_GRAPH = "graph"
CANNOT_RUN = "is no encoder of text that can be run"
# What the graph and the pooling do themselves, and what is done to every vector in the end.
MODULES = frozenset({"Transformer", "Pooling", "Normalize", "Dropout"})
# Of these models the position of the first token is the row behind the padding's.
POSITIONS_BEHIND_PADDING = frozenset(
    {
        "camembert",
        "data2vec-text",
        "ibert",
        "longformer",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
# A graph over 2 GB names the files of its weights: {key: "location", value: the file's name} in protobuf.
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x80-\xff]*[\x00-\x7f])", re.DOTALL)


class OnnxEmbedder(Embedder):
    """Runs the graph, pools the states of its tokens, and brings the vector to unit length.

    One text, or window of a text, is run at a time and never beside another: what quantises its
    activations while it runs takes one scale for a whole batch, and padding is not always without effect.
    So a text has one vector, whatever it is embedded with; calls from ``parallel`` threads use all cores.

    How tokens become a vector, the first that holds: the setting; the graph's own output
    ``sentence_embedding`` (or its only output, where that is one vector a text); the folder's
    ``modules.json`` and ``1_Pooling/config.json``; the mean. The prefix is put before the text.

    A text longer than the model's limit is cut into windows, each with its special tokens. The mean is over
    the tokens of all of them. Where each window has one vector (``cls``, ``last``, or the graph's own),
    the vectors are averaged, weighted by the windows' numbers of tokens.
    """

    thresholds = UNKNOWN_MODEL
    is_read = True
    # As of text2vec: a BERT of base size takes about a millisecond a character of Chinese.
    max_chars = 4096
    batch_texts = 1

    def __init__(self, folder: Path, *, pooling: str = "", prefix: str = "", threads: int = 0) -> None:
        """``pooling`` is "mean", "cls", "last" or "", as the setting; so are ``threads``."""
        self._folder = folder
        self._configured_pooling = pooling
        self._prefix = clean(prefix, len(prefix))
        self._threads = threads_of_a_text(threads)
        self.parallel = usable_cores()
        self._session: OnnxSession | None = None
        self._tokenizer: Any = None
        self._unknown: int | None = None
        self._first_position = 0
        self._prompt_tokens = 0
        self._output = ""
        self._pooling: Pooling | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "OnnxEmbedder":
        """Take folder, pooling, prefix and threads from the settings."""
        return cls(
            settings.onnx_path,
            pooling=settings.onnx_pooling,
            prefix=settings.onnx_prefix,
            threads=settings.embedding_threads,
        )

    def open(self) -> None:
        """Load tokenizer and graph; ConfigError names what is missing, damaged or not supported."""
        folder = self._folder = resolve_folder(self._folder)
        graph = find_graph(folder)
        for name in (TOKENIZER_FILE, CONFIG_FILE):
            if not (folder / name).is_file():
                raise ConfigError(f"{folder} has no {name}, which embedder 'onnx' needs beside the graph")
        weights = weights_of(graph)
        config, sentence_config = read_object(folder / CONFIG_FILE), read_sentence_config(folder)
        lower_case = bool(sentence_config.get("do_lower_case"))
        self._load_tokenizer(config, lower_case)
        limit = self._set_limit(config, sentence_config)
        session = OnnxSession(graph, self._threads)
        unknown = [name for name in session.inputs if name not in INPUTS]
        if unknown or INPUTS[0] not in session.inputs:
            raise ConfigError(f"{graph} takes {', '.join(session.inputs)}; known are: {', '.join(INPUTS)}")
        self._choose_output(session, graph)
        self._prompt_tokens = self._count_prompt_tokens()
        files = [str(path.relative_to(folder)) for path in (graph, *weights)]
        pooling = self._pooling.name if self._pooling else POOLED_BY_GRAPH
        shaped_by = (pooling, repr(self._pooling), self._prefix, str(limit), str(self._first_position))
        digest = fingerprint(folder, [*files, TOKENIZER_FILE], *shaped_by, str(lower_case))
        self.name = f"onnx-{safe_name(folder.absolute().name)}-{pooling}-{digest}"
        self._session = session
        self._check_probe(graph)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one unit vector per text; EmbeddingError when the graph fails or is not open."""
        session, tokenizer = self._opened()
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        vectors = normalise_rows(np.stack([self._vector(session, tokenizer, text) for text in texts]))
        if not np.isfinite(vectors).all():
            raise EmbeddingError("the ONNX graph gave a vector that is not finite")
        return vectors

    def unknown_tokens(self, text: str) -> list[tuple[int, int]]:
        """Return where the tokenizer writes its unknown word; EmbeddingError when nothing is open."""
        _, tokenizer = self._opened()
        cleaned = clean(text, self.max_chars)
        encoding = tokenizer.encode(cleaned, add_special_tokens=False)
        tokens = [
            token
            for window in (encoding, *encoding.overflowing)
            for token in zip(window.ids, window.offsets, strict=True)
        ]
        return ranges_before_clean(unknown_ranges(cleaned, tokens, self._unknown), len(text), self.max_chars)

    def close(self) -> None:
        """Let the graph go."""
        self._session = self._tokenizer = None

    def _opened(self) -> tuple[OnnxSession, Any]:
        session, tokenizer = self._session, self._tokenizer
        if session is None or tokenizer is None:
            raise EmbeddingError("the onnx embedder is not open")
        return session, tokenizer

    def _load_tokenizer(self, config: Mapping[str, Any], lower_case: bool) -> None:
        path = self._folder / TOKENIZER_FILE
        try:
            tokenizers: Any = import_module("tokenizers")
        except ModuleNotFoundError as exc:
            raise ConfigError(needs("embedder 'onnx'", exc)) from exc
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
            tokenizer.no_padding()
            tokenizer.no_truncation()
            tokenizer.encode("\N{GRINNING FACE}")  # a vocabulary without [UNK] fails at an unknown word only
        except Exception as exc:
            # tokenizers raises plain Exception, which no except clause can single out.
            if type(exc) is not Exception:
                raise
            raise ConfigError(f"{path} is damaged or of an unknown kind: download it again") from exc
        if lower_case:
            add_lower_case(tokenizer)
        rows = whole_number(self._folder / CONFIG_FILE, config, "vocab_size")
        if rows is not None:
            known = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1
            check_vocabulary(self._folder, known, rows)
        self._tokenizer, self._unknown = tokenizer, unknown_id(tokenizer, read_json(path)["model"])

    def _set_limit(self, config: Mapping[str, Any], sentence_config: Mapping[str, Any]) -> int:
        """Set and return how many tokens, special ones included, one window may have."""
        path = self._folder / CONFIG_FILE
        positions = whole_number(path, config, "max_position_embeddings") or DEFAULT_POSITIONS
        padding = whole_number(path, config, "pad_token_id")
        if config.get("model_type") in POSITIONS_BEHIND_PADDING and padding is not None:
            self._first_position = padding + 1
        limits = [positions - self._first_position]
        tokenizer_config = read_object(self._folder / TOKENIZER_CONFIG_FILE)
        told = whole_number(self._folder, sentence_config, "max_seq_length") or whole_number(
            self._folder / TOKENIZER_CONFIG_FILE, tokenizer_config, "model_max_length"
        )
        if told is not None:
            limits.append(told)
        limit = window_limit(self._folder, limits, self._tokenizer.num_special_tokens_to_add(False))
        # Set once: afterwards it is only read, by any number of threads.
        self._tokenizer.enable_truncation(limit)
        return limit

    def _choose_output(self, session: OnnxSession, graph: Path) -> None:
        """Run the graph once to see what it gives, and decide what vectors are made of."""
        window = self._tokenizer.encode("probe")
        try:
            found = session.run(self._inputs(session, window), session.outputs)
        except EmbeddingError as exc:
            raise ConfigError(f"{graph} {CANNOT_RUN}") from exc
        ranks = {name: np.ndim(array) for name, array in zip(session.outputs, found, strict=True)}
        states = [name for name in (*STATES_OUTPUTS, *ranks) if ranks.get(name) == 3]
        pooled = [name for name in ranks if ranks[name] == 2 and (name == POOLED_OUTPUT or len(ranks) == 1)]
        if pooled and not self._configured_pooling:
            self._output, self._pooling = pooled[0], None
            return
        if not states:
            raise ConfigError(f"{graph} gives no token states, only {', '.join(session.outputs)}")
        foreign = [one.kind for one in read_modules(self._folder) if one.kind not in MODULES]
        if foreign:
            raise ConfigError(
                f"{self._folder} has a module {foreign[0]}, which its graph lacks: "
                "embedder 'sentence_transformers' may know it"
            )
        self._output = states[0]
        self._pooling = (
            Pooling((MODES_BY_SETTING[self._configured_pooling],))
            if self._configured_pooling
            else read_pooling(self._folder) or Pooling((MEAN,))
        )

    def _count_prompt_tokens(self) -> int:
        """Return how many tokens, with the special ones before it, the prefix puts before a text."""
        if not self._prefix:
            return 0
        encoding = self._tokenizer.encode(self._prefix)
        special = encoding.special_tokens_mask
        return len(special) - (1 if special and special[-1] else 0)

    def _inputs(self, session: OnnxSession, window: Any) -> dict[str, NDArray[Any]]:
        """Return what the graph wants of one window."""
        # A tokenizer without special tokens makes none of an empty text, and no graph runs on none.
        ids = window.ids or [0]
        values = {
            "input_ids": ids,
            "attention_mask": [1] * len(ids),
            "token_type_ids": window.type_ids or [0],
            "position_ids": range(self._first_position, self._first_position + len(ids)),
        }
        return {name: np.array([values[name]], session.input_types[name]) for name in session.inputs}

    def _vector(self, session: OnnxSession, tokenizer: Any, text: str) -> Embeddings:
        """Return the vector of one text, of any length."""
        encoding = tokenizer.encode(self._prefix + clean(text, self.max_chars))
        windows = [
            session.run(self._inputs(session, window), (self._output,))[0][0]
            for window in (encoding, *encoding.overflowing)
        ]
        if self._pooling is not None:
            return self._pooling.pool(windows, self._prompt_tokens)
        return average(windows, [len(window.ids) or 1 for window in (encoding, *encoding.overflowing)])

    def _check_probe(self, graph: Path) -> None:
        """Embed once, so that a graph that gives no vectors is refused at the start."""
        session, tokenizer = self._opened()
        try:
            vectors = np.stack([self._vector(session, tokenizer, text) for text in ("", "probe")])
        except (EmbeddingError, ValueError, LookupError) as exc:
            raise ConfigError(f"{graph} {CANNOT_RUN}") from exc
        self.dimension = vectors.shape[1]
        check_vectors(self._folder, normalise_rows(vectors))


def find_graph(folder: Path) -> Path:
    """Return model.onnx, onnx/model.onnx or the only other graph there; ConfigError where there is none."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder: onnx_path names the one with the ONNX graph")
    for place in (folder, folder / GRAPH_FOLDER):
        if (place / GRAPH_FILE).is_file():
            return place / GRAPH_FILE
    graphs = sorted(path for place in (folder, folder / GRAPH_FOLDER) for path in place.glob("*.onnx"))
    if not graphs:
        raise ConfigError(
            f"{folder} has no {GRAPH_FILE}, no {GRAPH_FOLDER}/{GRAPH_FILE} and no other .onnx file"
        )
    if len(graphs) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in graphs)
        raise ConfigError(f"{folder} has several graphs ({names}): name the one to use {GRAPH_FILE}")
    return graphs[0]


def weights_of(graph: Path) -> list[Path]:
    """Return the files beside the graph that hold its weights; ConfigError names one that is missing."""
    names = set()
    with graph.open("rb") as file:
        if not graph.stat().st_size:
            raise ConfigError(f"{graph} is empty: download it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for found in _LOCATION.finditer(content):
                length = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(found[1]))
                names.add(content[found.end() : found.end() + length].decode("utf-8", "replace"))
    for name in sorted(names):
        if Path(name).is_absolute() or not (graph.parent / name).is_file():
            raise ConfigError(f"{graph.parent} has no {name}, where {graph.name} has its weights")
    return [graph.parent / name for name in sorted(names)]


def unknown_id(tokenizer: Any, model: Mapping[str, Any]) -> int | None:
    """Return which token stands for what the vocabulary lacks; None where every text can be written."""
    if model.get("unk_id") is not None:
        return int(model["unk_id"])
    word = model.get("unk_token")
    found: int | None = None if word is None else tokenizer.token_to_id(word)
    return found
