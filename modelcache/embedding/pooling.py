"""How the states of a text's tokens become one vector, and what a folder says about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modelcache.embedding.folder import CONFIG_FILE, read_modules, read_object
from modelcache.errors import ConfigError
from modelcache.records.vectors import Embeddings

MEAN, CLS, LAST = "mean", "cls", "lasttoken"
MAX, MEAN_SQRT, WEIGHTED = "max", "mean_sqrt_len_tokens", "weightedmean"
# In the order in which several are concatenated.
MODES_BY_FLAG = {
    "pooling_mode_cls_token": CLS,
    "pooling_mode_max_tokens": MAX,
    "pooling_mode_mean_tokens": MEAN,
    "pooling_mode_mean_sqrt_len_tokens": MEAN_SQRT,
    "pooling_mode_weightedmean_tokens": WEIGHTED,
    "pooling_mode_lasttoken": LAST,
}
FLAG_PREFIX = "pooling_mode_"
MODES = tuple(MODES_BY_FLAG.values())
MODES_BY_SETTING = {"mean": MEAN, "cls": CLS, "last": LAST}
DEFAULT_FOLDER = "1_Pooling"


@dataclass(frozen=True, slots=True)
class Pooling:
    """The modes of sentence-transformers, one or several that are concatenated.

    A text of several windows is pooled as if it were one, over the tokens of all of them. ``cls`` and
    ``lasttoken``, of which each window has its own, are averaged, weighted by the windows' tokens.
    """

    modes: tuple[str, ...]
    include_prompt: bool = True
    """Whether the tokens of a prompt before the text count."""

    @property
    def name(self) -> str:
        """The modes in a form that a name may contain."""
        return "-".join(self.modes)

    def pool(self, windows: Sequence[Embeddings], prompt_tokens: int = 0) -> Embeddings:
        """Return one vector of the states (tokens, dimension) of each window of one text."""
        states = np.concatenate(windows)
        ends = np.cumsum([len(window) for window in windows])
        # Where a text has nothing but its prompt, that is what its vector is made of.
        skipped = 0 if self.include_prompt or prompt_tokens >= len(states) else prompt_tokens
        starts = np.concatenate([[0], ends[:-1]]).clip(skipped)
        kept = ends > starts
        starts, ends = starts[kept], ends[kept]
        pooled = [_pool_by(mode, states, starts, ends) for mode in self.modes]
        return np.concatenate(pooled).astype(np.float32)


def average(vectors: ArrayLike, tokens: ArrayLike) -> Embeddings:
    """Return the mean of the vectors, weighted by numbers of tokens."""
    mean: Embeddings = np.average(np.asarray(vectors, np.float64), axis=0, weights=np.asarray(tokens)).astype(
        np.float32
    )
    return mean


def read_pooling(folder: Path) -> Pooling | None:
    """Return what ``modules.json`` or ``1_Pooling`` says; None where there is neither; ConfigError."""
    folders = [module.folder for module in read_modules(folder) if module.kind == "Pooling"]
    path = (folders[0] if folders else folder / DEFAULT_FOLDER) / CONFIG_FILE
    if not path.is_file():
        if folders:
            raise ConfigError(f"{folder} has no {path.relative_to(folder)}, which its modules.json names")
        return None
    config = read_object(path)
    return Pooling(_modes(path, config), bool(config.get("include_prompt", True)))


def _modes(path: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the modes that a Pooling module's configuration names, in its old form or its new one."""
    named = config.get("pooling_mode")
    if named is None:
        flags = {name for name in config if name.startswith(FLAG_PREFIX) and config[name]}
        modes = [mode for flag, mode in MODES_BY_FLAG.items() if flag in flags] or [MEAN]
        unknown = sorted(flags - MODES_BY_FLAG.keys())
    else:
        modes = [named] if isinstance(named, str) else list(named) if isinstance(named, list) else []
        unknown = [mode for mode in modes if mode not in MODES] if modes else [named]
    if unknown:
        raise ConfigError(f"{path} names the pooling {unknown[0]!r}; known are: {', '.join(MODES)}")
    return tuple(modes)


def _pool_by(
    mode: str, states: Embeddings, starts: NDArray[np.intp], ends: NDArray[np.intp]
) -> NDArray[np.floating]:
    """Pool the windows that begin and end at these tokens."""
    first = starts[0]
    tokens = states[first:]
    if mode == CLS:
        return average(states[starts], ends - starts)
    if mode == LAST:
        return average(states[ends - 1], ends - starts)
    if mode == MAX:
        highest: Embeddings = tokens.max(axis=0)
        return highest
    if mode == WEIGHTED:
        return average(tokens, np.arange(first, len(states)) + 1)
    mean: NDArray[np.floating] = tokens.mean(axis=0, dtype=np.float64)
    return mean * np.sqrt(len(tokens)) if mode == MEAN_SQRT else mean
