"""BERT weights from a folder, run with transformers and torch: the mean of the token states."""

import pickle
from collections.abc import Callable, Sequence
from hashlib import file_digest, sha256
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from modelcache.embedding.base import Embedder, Embeddings, Thresholds, normalise_rows
from modelcache.embedding.text import clean, safe_name
from modelcache.errors import ConfigError, EmbeddingError

if TYPE_CHECKING:
    from modelcache.settings import Settings

PROJECT_ROOT = Path(__file__).resolve().parents[2]
HUB_NAME = "shibing624/text2vec-base-chinese"

CONFIG_FILE = "config.json"
TOKENIZER_FILES = ("vocab.txt", "tokenizer.json")
WEIGHTS_FILES = ("pytorch_model.bin", "model.safetensors")
TOKENIZER_OPTIONS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")

# Published with the reference for text2vec-base-chinese; not measured here.
THRESHOLDS = Thresholds(short=0.95, long=0.95, context=0.95, answered=0.9)

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


def resolve_folder(folder: Path) -> Path:
    """Find a relative folder in the current directory or, where it is not there, in the project's."""
    if folder.is_absolute() or folder.is_dir():
        return folder
    in_project = PROJECT_ROOT / folder
    return in_project if in_project.is_dir() else folder


def missing_file(folder: Path) -> str | None:
    """Return the name of the first file that the folder lacks, or None when all is in place."""
    folder = resolve_folder(folder)
    for names in ((CONFIG_FILE,), TOKENIZER_FILES, WEIGHTS_FILES):
        if not any((folder / name).is_file() for name in names):
            return " or ".join(names)
    return None


class Text2VecEmbedder(Embedder):
    """Mean pooling over a BERT-like model; on the GPU where torch finds one.

    A text longer than the model's limit is cut into windows, each with its special tokens; its
    vector is the mean over the tokens of all of them.
    """

    BATCH_WINDOWS: ClassVar[int] = 32

    thresholds = THRESHOLDS
    # A BERT of base size takes about 1.4 ms a character of Chinese on two idle cores.
    max_chars = 4096

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._torch: Any = None
        self._tokenizer: Any = None
        self._model: Any = None
        self._limit = 0
        self._pad_id = 0
        # A fast tokenizer keeps its truncation as state and refuses to be borrowed twice.
        self._tokenizer_lock = Lock()

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Text2VecEmbedder":
        """Take the folder from the settings."""
        return cls(settings.text2vec_path)

    def open(self) -> None:
        """Load tokenizer and weights; ConfigError names the file that is missing or damaged."""
        self._folder = resolve_folder(self._folder)
        missing = missing_file(self._folder)
        if missing is not None:
            raise ConfigError(f"{self._folder} has no {missing}: download {HUB_NAME} and put the file there")
        try:
            self._torch = import_module("torch")
            transformers: Any = import_module("transformers")
        except ModuleNotFoundError as exc:
            raise ConfigError(
                f"embedder 'text2vec' needs the Python package {exc.name!r}, which is not installed"
            ) from exc
        # Its bars would be written into the service's log.
        transformers.utils.logging.disable_progress_bar()
        config = self._load(CONFIG_FILE, transformers.AutoConfig.from_pretrained)
        self._load_tokenizer(transformers)
        self._load_weights(transformers, config)
        self.name = f"text2vec-{safe_name(self._folder.absolute().name)}-mean-{self._fingerprint()}"
        self._check_probe()

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one unit vector per text; EmbeddingError when torch fails or nothing is open."""
        model, tokenizer = self._model, self._tokenizer
        if model is None or tokenizer is None:
            raise EmbeddingError("the text2vec embedder is not open")
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        windows, owners = self._windows(tokenizer, [clean(text, self.max_chars) for text in texts])
        try:
            window_sums = self._sum_states(model, windows)
        except RuntimeError as exc:  # torch's: out of memory, a lost GPU
            raise EmbeddingError("the text2vec model failed on a batch") from exc
        sums = np.zeros((len(texts), self.dimension), dtype=np.float32)
        np.add.at(sums, owners, window_sums)
        counts = np.zeros((len(texts), 1), dtype=np.float32)
        np.add.at(counts[:, 0], owners, [len(window) for window in windows])
        return normalise_rows(sums / counts)

    def close(self) -> None:
        """Let the weights go."""
        self._model = self._tokenizer = None

    def _load_tokenizer(self, transformers: Any) -> None:
        names = [name for name in TOKENIZER_FILES + TOKENIZER_OPTIONS if (self._folder / name).is_file()]

        def load_and_try(*args: Any, **options: Any) -> Any:
            tokenizer = transformers.AutoTokenizer.from_pretrained(*args, **options)
            tokenizer("\N{GRINNING FACE}")  # a vocabulary without [UNK] fails at an unknown word only
            return tokenizer

        tokenizer = self._load(f"tokenizer ({', '.join(names)})", load_and_try)
        if not tokenizer.is_fast:
            raise ConfigError(f"{self._folder} has a tokenizer that needs a tokenizer.json")
        self._tokenizer = tokenizer
        self._pad_id = tokenizer.pad_token_id or 0

    def _load_weights(self, transformers: Any, config: Any) -> None:
        model, report = self._load(
            self._weights_file().name,
            transformers.AutoModel.from_pretrained,
            config=config,
            dtype=self._torch.float32,
            output_loading_info=True,
        )
        # Absent layers are filled with noise and only logged; the pooler alone is not used here.
        absent = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
        if absent:
            raise ConfigError(
                f"{self._folder / self._weights_file().name} does not fit its config.json: it has no "
                f"{absent[0]}"
            )
        self._check_vocabulary(model.get_input_embeddings().num_embeddings)
        self._limit = self._find_limit(model)
        self._model = model.to("cuda" if self._torch.cuda.is_available() else "cpu").eval()
        self.dimension = int(model.config.hidden_size)

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

    def _check_vocabulary(self, rows: int) -> None:
        """Refuse a tokenizer of another model, or one cut short, which reads every word as unknown."""
        known = max(self._tokenizer.get_vocab().values(), default=-1) + 1
        if not rows // 2 < known <= rows:
            raise ConfigError(
                f"{self._folder} has a tokenizer of {known} tokens but weights for {rows}: they are "
                "not of one model"
            )

    def _find_limit(self, model: Any) -> int:
        """Return how many tokens, special ones included, one window may have."""
        positions = getattr(model.config, "max_position_embeddings", None) or 512
        table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
        padding_row = getattr(table, "padding_idx", None)
        if padding_row is not None:  # RoBERTa counts its positions from behind this row
            positions -= padding_row + 1
        # A tokenizer that was told no limit says 1e30.
        limit = int(min(positions, self._tokenizer.model_max_length))
        if limit <= self._tokenizer.num_special_tokens_to_add():
            raise ConfigError(f"{self._folder} allows {limit} tokens a text, which leaves no room for one")
        return limit

    def _weights_file(self) -> Path:
        """Return the file that transformers reads: safetensors, where both are there."""
        safetensors = self._folder / "model.safetensors"
        return safetensors if safetensors.is_file() else self._folder / "pytorch_model.bin"

    def _fingerprint(self) -> str:
        """Hash every file that shapes a vector.

        The weights are read whole: a fine-tuned copy may differ in its middle layers alone.
        """
        digest = sha256()
        names = (CONFIG_FILE, *TOKENIZER_FILES, *TOKENIZER_OPTIONS, self._weights_file().name)
        for name in names:
            path = self._folder / name
            if path.is_file():
                with path.open("rb") as file:
                    digest.update(name.encode() + file_digest(file, "sha256").digest())
        return digest.hexdigest()[:12]

    def _check_probe(self) -> None:
        """Embed once, so that weights that give no vectors are refused at the start."""
        try:
            vectors = self.embed(["", "probe"])
        except (EmbeddingError, *_UNREADABLE) as exc:
            raise ConfigError(f"{self._folder} is no BERT-like model that gives token states") from exc
        if not np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3):
            raise ConfigError(f"{self._folder} has weights that give no finite vectors")

    def _windows(self, tokenizer: Any, texts: list[str]) -> tuple[list[list[int]], list[int]]:
        """Return the token ids of every window and, for each, which text it belongs to."""
        with self._tokenizer_lock:
            encoded = tokenizer(
                texts,
                truncation=True,
                max_length=self._limit,
                return_overflowing_tokens=True,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
        return encoded["input_ids"], encoded["overflow_to_sample_mapping"]

    def _sum_states(self, model: Any, windows: list[list[int]]) -> Embeddings:
        """Return the sum of each window's token states, shape (len(windows), dimension)."""
        torch, pad_sequence = self._torch, self._torch.nn.utils.rnn.pad_sequence
        sums = np.empty((len(windows), self.dimension), dtype=np.float32)
        # Neighbours of like length share a batch, so that little of it is padding.
        order = sorted(range(len(windows)), key=lambda index: len(windows[index]))
        for start in range(0, len(order), self.BATCH_WINDOWS):
            batch = order[start : start + self.BATCH_WINDOWS]
            ids = [torch.tensor(windows[index]) for index in batch]
            padded = pad_sequence(ids, batch_first=True, padding_value=self._pad_id)
            mask = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True)
            padded, mask = padded.to(model.device), mask.to(model.device)
            with torch.inference_mode():
                states = model(input_ids=padded, attention_mask=mask).last_hidden_state
                sums[batch] = (states * mask.unsqueeze(-1)).sum(dim=1).cpu().numpy()
        return sums


def is_unreadable(exc: Exception) -> bool:
    """Tell whether transformers raised this because a file is damaged or of another kind."""
    safetensor_error: type[Exception] = import_module("safetensors").SafetensorError
    # tokenizers raises plain Exception, which no except clause can single out.
    return isinstance(exc, (*_UNREADABLE, safetensor_error)) or type(exc) is Exception
