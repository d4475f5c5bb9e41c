"""How well scores tell pairs apart."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modelcache.model_building.encoder import Floats
from modelcache.training.examples import Example
from modelcache.training.loop import Point


def area_under_curve(examples: Sequence[Example], scores: Floats) -> dict[str, float]:
    """Return, by language, how often a pair that is the same scores above one that is not."""
    found = {}
    for language in sorted({one.language for one in examples}):
        chosen = [place for place, one in enumerate(examples) if one.language == language]
        same = np.array([examples[place].same for place in chosen])
        if same.any() and not same.all():
            found[language] = _area(same, scores[chosen])
    return found


def _area(same: NDArray[np.bool_], scores: Floats) -> float:
    """Count by ranks (Mann and Whitney); equal scores count half."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positive = int(same.sum())
    return float((ranks[same].sum() - positive * (positive + 1) / 2) / (positive * (len(same) - positive)))


def found_at(same: NDArray[np.bool_], scores: Floats, wrong_share: float) -> float:
    """Return how much of the same is found where at most this share of what scores as high is not."""
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(same[order])
    wrong = np.cumsum(~same[order])
    allowed = right[wrong <= wrong_share * (right + wrong)]
    return float(allowed.max() / max(1, same.sum())) if len(allowed) else 0.0


def draw_curve(points: Sequence[Point], path: Path) -> None:
    """Draw the loss and what was measured on the way over the steps, as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    steps = [point.step for point in points]
    axes.plot(steps, [point.loss for point in points], color="black", label="loss")
    axes.set_xlabel("steps")
    axes.set_ylabel("loss")
    beside = axes.twinx()
    for name in sorted({name for point in points for name in point.measured}):
        beside.plot(steps, [point.measured.get(name, np.nan) for point in points], label=f"AUC, {name}")
    beside.set_ylabel("area under the curve, of pairs kept aside")
    lines = [line for one in (axes, beside) for line in one.get_lines()]
    axes.legend(lines, [str(line.get_label()) for line in lines])
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
