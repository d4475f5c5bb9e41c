"""An encoder in a folder, run with transformers and torch: texts to the states of their tokens."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from modelcache.embedding.base import Embedder
from modelcache.embedding.folder import (
    CONFIG_FILE,
    DEFAULT_POSITIONS,
    check_vectors,
    check_vocabulary,
    window_limit,
)
from modelcache.embedding.tokens import Range, add_lower_case, unknown_ranges
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.packages import needs
from modelcache.records.vectors import Embeddings

TOKENIZER_FILES = ("vocab.txt", "tokenizer.json")
TOKENIZER_OPTIONS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
SAFETENSORS_FILE, PYTORCH_FILE = "model.safetensors", "pytorch_model.bin"

# What reading a damaged or foreign file was seen to raise in torch, transformers and their readers.
_UNREADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    ImportError,
    pickle.UnpicklingError,
)


def is_unreadable(exc: Exception) -> bool:
    """Tell whether transformers raised this because a file is damaged or of another kind."""
    safetensor_error: type[Exception] = import_module("safetensors").SafetensorError
    # tokenizers raises plain Exception, which no except clause can single out.
    return isinstance(exc, (*_UNREADABLE, safetensor_error)) or type(exc) is Exception


def import_packages(embedder: str) -> tuple[Any, Any]:
    """Return torch and transformers; ConfigError names the one that is not installed."""
    try:
        torch, transformers = import_module("torch"), import_module("transformers")
    except ModuleNotFoundError as exc:
        raise ConfigError(needs(f"embedder {embedder!r}", exc)) from exc
    # Its bars would be written into the service's log.
    transformers.utils.logging.disable_progress_bar()
    return torch, transformers


def weights_file(folder: Path) -> Path:
    """Return the file that transformers reads: safetensors, where both are there."""
    safetensors = folder / SAFETENSORS_FILE
    return safetensors if safetensors.is_file() else folder / PYTORCH_FILE


def check_probe(embedder: Embedder, folder: Path) -> None:
    """Embed once, so that weights that give no vectors are refused at the start."""
    try:
        vectors = embedder.embed(["", "probe"])
    except (EmbeddingError, *_UNREADABLE) as exc:
        raise ConfigError(f"{folder} is no BERT-like model that gives token states") from exc
    check_vectors(folder, vectors)


class TransformerEncoder:
    """A BERT-like model and its fast tokenizer; on the GPU where torch finds one.

    A text longer than the model's limit is cut into windows, each with its special tokens.
    """

    BATCH_WINDOWS: ClassVar[int] = 32

    def __init__(
        self, folder: Path, embedder: str, max_tokens: int | None = None, lower_case: bool = False
    ) -> None:
        """Load tokenizer and weights; ConfigError names the file that is missing or damaged.

        ``max_tokens`` takes the place of the limit that the tokenizer was told.
        """
        self._folder = folder
        self._embedder = embedder
        self._torch, transformers = import_packages(embedder)
        # A fast tokenizer keeps its truncation as state and refuses to be borrowed twice.
        self._tokenizer_lock = Lock()
        config = self._load(CONFIG_FILE, transformers.AutoConfig.from_pretrained)
        self._tokenizer = self._load_tokenizer(transformers)
        if lower_case:
            add_lower_case(self._tokenizer.backend_tokenizer)
        self._pad_id: int = self._tokenizer.pad_token_id or 0
        self._model = self._load_weights(transformers, config)
        self.limit = self._find_limit(max_tokens)
        self.dimension = int(self._model.config.hidden_size)

    def windows(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Return the token ids of every window and, for each, which text it belongs to."""
        with self._tokenizer_lock:
            encoded = self._tokenizer(
                list(texts),
                truncation=True,
                max_length=self.limit,
                return_overflowing_tokens=True,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
        return encoded["input_ids"], encoded["overflow_to_sample_mapping"]

    def run(
        self, windows: Sequence[Sequence[int]], reduce: Callable[[Any, Any], Any]
    ) -> Iterator[tuple[list[int], Embeddings]]:
        """Yield what ``reduce`` makes of the states and the mask of a batch, and which windows are in it.

        Raises EmbeddingError when torch fails.
        """
        torch, pad_sequence = self._torch, self._torch.nn.utils.rnn.pad_sequence
        # Neighbours of like length share a batch, so that little of it is padding.
        order = sorted(range(len(windows)), key=lambda index: len(windows[index]))
        for start in range(0, len(order), self.BATCH_WINDOWS):
            batch = order[start : start + self.BATCH_WINDOWS]
            ids = [torch.tensor(windows[index]) for index in batch]
            padded = pad_sequence(ids, batch_first=True, padding_value=self._pad_id)
            mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
            try:
                padded, mask = padded.to(self._model.device), mask.to(self._model.device)
                with torch.inference_mode():
                    states = self._model(input_ids=padded, attention_mask=mask).last_hidden_state
                    reduced = reduce(states, mask).cpu().numpy()
            except RuntimeError as exc:  # torch's: out of memory, a lost GPU
                raise EmbeddingError(f"the {self._embedder} model failed on a batch") from exc
            yield batch, reduced

    def prompt_tokens(self, prompt: str) -> int:
        """Return how many tokens, with the special ones before it, a prompt puts before a text."""
        with self._tokenizer_lock:
            ids = self._tokenizer(prompt)["input_ids"]
        return len(ids) - (1 if ids and ids[-1] in self._tokenizer.all_special_ids else 0)

    def unknown_ranges(self, text: str) -> list[Range]:
        """Return start and end of each part of the text that the tokenizer does not know."""
        with self._tokenizer_lock:
            encoded = self._tokenizer(
                text,
                add_special_tokens=False,
                return_offsets_mapping=True,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,
            )
        tokens = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return unknown_ranges(text, tokens, self._tokenizer.unk_token_id)

    def _load_tokenizer(self, transformers: Any) -> Any:
        names = [name for name in TOKENIZER_FILES + TOKENIZER_OPTIONS if (self._folder / name).is_file()]

        def load_and_try(*args: Any, **options: Any) -> Any:
            tokenizer = transformers.AutoTokenizer.from_pretrained(*args, **options)
            tokenizer("\N{GRINNING FACE}")  # a vocabulary without [UNK] fails at an unknown word only
            return tokenizer

        tokenizer = self._load(f"tokenizer ({', '.join(names)})", load_and_try)
        if not tokenizer.is_fast:
            raise ConfigError(f"{self._folder} has a tokenizer that needs a tokenizer.json")
        return tokenizer

    def _load_weights(self, transformers: Any, config: Any) -> Any:
        file = weights_file(self._folder)
        model, report = self._load(
            file.name,
            transformers.AutoModel.from_pretrained,
            config=config,
            dtype=self._torch.float32,
            output_loading_info=True,
        )
        # Absent layers are filled with noise and only logged; the pooler alone is not used here.
        absent = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
        if absent:
            raise ConfigError(f"{file} does not fit its config.json: it has no {absent[0]}")
        known = max(self._tokenizer.get_vocab().values(), default=-1) + 1
        check_vocabulary(self._folder, known, model.get_input_embeddings().num_embeddings)
        return model.to("cuda" if self._torch.cuda.is_available() else "cpu").eval()

    def _load(self, file: str, load: Callable[..., Any], **options: Any) -> Any:
        """Load one part with transformers; ConfigError names the file when it cannot be read."""
        try:
            return load(self._folder, local_files_only=True, **options)
        except Exception as exc:
            if not is_unreadable(exc):
                raise
            raise ConfigError(
                f"{self._folder} has a {file} that is damaged or of an unknown kind: download it again"
            ) from exc

    def _find_limit(self, max_tokens: int | None) -> int:
        """Return how many tokens, special ones included, one window may have."""
        positions = getattr(self._model.config, "max_position_embeddings", None) or DEFAULT_POSITIONS
        table = getattr(getattr(self._model, "embeddings", None), "position_embeddings", None)
        padding_row = getattr(table, "padding_idx", None)
        if padding_row is not None:  # RoBERTa counts its positions from behind this row
            positions -= padding_row + 1
        # A tokenizer that was told no limit says 1e30.
        told = int(max_tokens or self._tokenizer.model_max_length)
        return window_limit(self._folder, (positions, told), self._tokenizer.num_special_tokens_to_add())
