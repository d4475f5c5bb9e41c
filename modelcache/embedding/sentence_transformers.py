"""A SentenceTransformers folder, run with transformers and torch: its transformer, pooling and layers."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from modelcache.embedding.base import UNKNOWN_MODEL, Embedder
from modelcache.embedding.folder import (
    CONFIG_FILE,
    MODULES_FILE,
    Module,
    fingerprint,
    read_modules,
    read_object,
    read_sentence_config,
    resolve_folder,
    whole_number,
)
from modelcache.embedding.pooling import read_pooling
from modelcache.embedding.text import clean, ranges_before_clean, safe_name
from modelcache.embedding.transformer import (
    PYTORCH_FILE,
    SAFETENSORS_FILE,
    TOKENIZER_FILES,
    TOKENIZER_OPTIONS,
    TransformerEncoder,
    check_probe,
    import_packages,
    is_unreadable,
    weights_file,
)
from modelcache.errors import ConfigError, EmbeddingError
from modelcache.records.vectors import Embeddings, normalise_rows
from modelcache.settings import Settings

NAME = "sentence_transformers"
PROMPTS_FILE = "config_sentence_transformers.json"
# Beside those that the transformer of every embedder may have.
MORE_TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
FEATURES = "feature-extraction"
POOLED = "sentence_embedding"
FIRST_MODULES = ("Transformer", "Pooling")
DENSE = "Dense"
# Every vector is brought to unit length in the end, and nothing is dropped outside training.
WITHOUT_EFFECT = frozenset({"Dropout"})
NORMALIZE = "Normalize"
LAYERS = (DENSE, NORMALIZE)
KNOWN_MODULES = (*FIRST_MODULES, DENSE, NORMALIZE, *sorted(WITHOUT_EFFECT))
ACTIVATIONS = "torch.nn."
DEFAULT_ACTIVATION = "torch.nn.modules.activation.Tanh"

Layer = Callable[[Any], Any]


class SentenceTransformersEmbedder(Embedder):
    """Does what the folder's ``modules.json`` says, without the package sentence-transformers.

    First a Transformer, then a Pooling of any kind; then, in any order, Dense layers and Normalize. The
    prompt that ``config_sentence_transformers.json`` names as the default is put before each text.

    A text longer than the model's limit is cut into windows, each with its special tokens, and pooled
    over the tokens of all of them, as ``Pooling`` says; the layers after it see one vector a text.
    """

    thresholds = UNKNOWN_MODEL
    is_read = True
    # As of text2vec.
    max_chars = 4096

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model: _Model | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "SentenceTransformersEmbedder":
        """Take the folder from the settings."""
        return cls(settings.sentence_transformers_path)

    def open(self) -> None:
        """Load all modules; ConfigError names what is missing, damaged or not supported."""
        folder = self._folder = resolve_folder(self._folder)
        model = self._model = _Model(folder)
        self.dimension = model.finish(np.zeros((1, model.pooled_dimension), np.float32)).shape[1]
        self.name = f"st-{safe_name(folder.absolute().name)}-{model.pooling.name}-{model.fingerprint()}"
        check_probe(self, folder)

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one unit vector per text; EmbeddingError when torch fails or nothing is open."""
        model = self._opened()
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        pooled = model.pooled([clean(text, self.max_chars) for text in texts])
        return normalise_rows(model.finish(pooled))

    def unknown_tokens(self, text: str) -> list[tuple[int, int]]:
        """Return where the tokenizer writes its unknown word; EmbeddingError when nothing is open."""
        ranges = self._opened().encoder.unknown_ranges(clean(text, self.max_chars))
        return ranges_before_clean(ranges, len(text), self.max_chars)

    def close(self) -> None:
        """Let the weights go."""
        self._model = None

    def _opened(self) -> "_Model":
        if self._model is None:
            raise EmbeddingError("the sentence_transformers embedder is not open")
        return self._model


class _Model:
    """The modules of one folder, loaded."""

    def __init__(self, folder: Path) -> None:
        """Load them; ConfigError as ``open``."""
        self._transformer, self._others = _read_modules(folder)
        pooling = read_pooling(folder)
        assert pooling is not None  # _read_modules saw the module, so that its file is there
        self.pooling, self._prompt = pooling, _read_prompt(folder)
        self._torch, _ = import_packages(NAME)
        config = read_sentence_config(self._transformer)
        if config.get("transformer_task", FEATURES) != FEATURES:
            raise ConfigError(f"{self._transformer} is for {config['transformer_task']!r}, not {FEATURES!r}")
        self._lower_case = bool(config.get("do_lower_case"))
        self.encoder = TransformerEncoder(
            self._transformer,
            NAME,
            whole_number(self._transformer, config, "max_seq_length"),
            self._lower_case,
        )
        self.pooled_dimension = len(pooling.modes) * self.encoder.dimension
        self._prompt_tokens = self.encoder.prompt_tokens(self._prompt) if self._prompt else 0
        self._layers = self._load_layers()

    def pooled(self, texts: Sequence[str]) -> Embeddings:
        """Return what Pooling makes of each text; EmbeddingError when torch fails."""
        windows, owners = self.encoder.windows([self._prompt + text for text in texts])
        states: dict[int, Embeddings] = {}
        for batch, batch_states in self.encoder.run(windows, _keep_states):
            for index, padded in zip(batch, batch_states, strict=True):
                states[index] = padded[: len(windows[index])]
        windows_of: list[list[Embeddings]] = [[] for _ in texts]
        for index, owner in enumerate(owners):
            windows_of[owner].append(states[index])
        return np.stack([self.pooling.pool(own, self._prompt_tokens) for own in windows_of])

    def finish(self, pooled: Embeddings) -> Embeddings:
        """Return what the layers after Pooling make of its vectors."""
        with self._torch.inference_mode():
            vectors = self._torch.from_numpy(pooled)
            for layer in self._layers:
                vectors = layer(vectors)
            finished: Embeddings = vectors.numpy()
        return finished

    def fingerprint(self) -> str:
        """Hash all files that shape a vector, and what others say that does."""
        files = (CONFIG_FILE, *TOKENIZER_FILES, *TOKENIZER_OPTIONS, *MORE_TOKENIZER_FILES)
        shaping = [fingerprint(self._transformer, (*files, weights_file(self._transformer).name))]
        for module in self._others:
            own = (CONFIG_FILE, weights_file(module.folder).name)
            shaping += [module.kind, fingerprint(module.folder, own)]
        limit = str(self.encoder.limit)
        return fingerprint(self._transformer, (), *shaping, self._prompt, limit, str(self._lower_case))

    def _load_layers(self) -> list[Layer]:
        layers: list[Layer] = []
        size = self.pooled_dimension
        for module in self._others:
            config = read_object(module.folder / CONFIG_FILE) if module.kind in LAYERS else {}
            if any(
                config.get(key) not in (None, POOLED) for key in ("module_input_name", "module_output_name")
            ):
                raise ConfigError(f"{module.folder} does not work on the text's vector, as it should")
            if module.kind == NORMALIZE:
                layers.append(lambda vectors: self._torch.nn.functional.normalize(vectors, dim=-1))
            if module.kind == DENSE:
                dense = self._load_dense(module.folder, config)
                if dense.taken != size:
                    raise ConfigError(
                        f"{module.folder} takes vectors of {dense.taken} numbers, not of {size}"
                    )
                layers.append(dense)
                size = dense.given
        return layers

    def _load_dense(self, folder: Path, config: Mapping[str, Any]) -> "_Dense":
        path = weights_file(folder)
        if not config or not path.is_file():
            raise ConfigError(f"{folder} has no {path.name if config else CONFIG_FILE}")
        activation = _activation(
            self._torch, folder, str(config.get("activation_function", DEFAULT_ACTIVATION))
        )
        try:
            if path.name == SAFETENSORS_FILE:
                weights = import_module("safetensors.torch").load_file(path)
            else:
                weights = self._torch.load(path, map_location="cpu", weights_only=True)
            return _Dense(self._torch, weights, activation, bool(config.get("use_residual")))
        except Exception as exc:
            if not is_unreadable(exc):
                raise
            raise ConfigError(f"{path} is damaged or of an unknown kind: download it again") from exc


class _Dense:
    """A layer with an activation, and the way past it where there is one."""

    def __init__(self, torch: Any, weights: Mapping[str, Any], activation: Layer, residual: bool) -> None:
        self._linear = torch.nn.functional.linear
        weights = {name: tensor.float() for name, tensor in weights.items()}
        self._weight, self._bias = weights["linear.weight"], weights.get("linear.bias")
        self._activation = activation
        self._residual = residual
        self._residual_weight = weights.get("residual.weight")
        self.given, self.taken = self._weight.shape

    def __call__(self, vectors: Any) -> Any:
        made = self._activation(self._linear(vectors, self._weight, self._bias))
        if not self._residual:
            return made
        past = vectors if self._residual_weight is None else self._linear(vectors, self._residual_weight)
        return made + past


def _read_modules(folder: Path) -> tuple[Path, list[Module]]:
    """Return the transformer's folder and the modules behind it; ConfigError for what is not supported."""
    path = folder / MODULES_FILE
    if not path.is_file():
        raise ConfigError(f"{folder} has no {MODULES_FILE}, so it is no SentenceTransformers folder")
    modules = read_modules(folder)
    kinds = tuple(module.kind for module in modules)
    unknown = [kind for kind in kinds if kind not in KNOWN_MODULES]
    if unknown:
        raise ConfigError(f"{path} names the module {unknown[0]}; known are: {', '.join(KNOWN_MODULES)}")
    if kinds[:2] != FIRST_MODULES or set(kinds[2:]) & set(FIRST_MODULES):
        raise ConfigError(f"{path} must name a Transformer, then a Pooling, then layers such as Dense")
    transformer = modules[0].folder
    for names in (
        (CONFIG_FILE,),
        (*TOKENIZER_FILES, *MORE_TOKENIZER_FILES),
        (PYTORCH_FILE, SAFETENSORS_FILE),
    ):
        if not any((transformer / name).is_file() for name in names):
            raise ConfigError(f"{transformer} has no {' or '.join(names)}")
    return transformer, modules[1:]


def _read_prompt(folder: Path) -> str:
    """Return what is put before each text; ConfigError where the default prompt is not among the prompts."""
    path = folder / PROMPTS_FILE
    config = read_object(path)
    name = config.get("default_prompt_name")
    if name is None:
        return ""
    prompts = config.get("prompts")
    prompt = prompts.get(name) if isinstance(prompts, dict) else None
    if not isinstance(prompt, str):
        raise ConfigError(f"{path} has no prompt {name!r}, which it names as the default")
    return clean(prompt, len(prompt))


def _activation(torch: Any, folder: Path, name: str) -> Layer:
    """Return the activation of torch with this name; ConfigError where there is none."""
    kind = getattr(torch.nn, name.rpartition(".")[2], None) if name.startswith(ACTIVATIONS) else None
    if not (isinstance(kind, type) and issubclass(kind, torch.nn.Module)):
        raise ConfigError(f"{folder} has the activation {name!r}, which is none of torch")
    try:
        made: Layer = kind()
    except TypeError as exc:
        raise ConfigError(f"{folder} has the activation {name!r}, which is none of torch") from exc
    return made


def _keep_states(states: Any, mask: Any) -> Any:
    return states
