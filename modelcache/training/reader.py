"""Teaches the reader, which sees both questions at once: does one answer serve both?"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modelcache.embedding.e5_inputs import E5Inputs
from modelcache.model_building.encoder import Encoder, Floats, Linear
from modelcache.similarity_evaluation.paraphrase import Arranged, arranged
from modelcache.training.examples import Example
from modelcache.training.figures import area_under_curve
from modelcache.training.loop import Plan, Point, device, teach
from modelcache.training.network import TaughtEncoder, mean_over, padded

# Half of the embedder's layers: a pair has twice the tokens of a question, and costs as much.
LAYERS = 6
# Of a longer pair only what differs is read, as when it is judged.
MOST_TOKENS = 128
MEASURED_BATCH = 64


class Noise(NamedTuple):
    """How often the labels of a set are wrong."""

    missed: float
    """Of the pairs that are the same, so many are labelled as different."""
    claimed: float
    """Of those that are different, so many are labelled as the same."""


# Labels of people are wrong now and then, those of contrasts hardly ever. Most that look like duplicates on
# Quora, and are labelled as none, were just not found.
NOISE = {
    "qqp": Noise(0.12, 0.05),
    "atec": Noise(0.10, 0.08),
    "afqmc": Noise(0.08, 0.06),
    "bq": Noise(0.06, 0.06),
    "simclue": Noise(0.06, 0.06),
    "oppo": Noise(0.03, 0.03),
    "lcqmc_dev": Noise(0.03, 0.03),
}
LEAST_NOISE = Noise(0.01, 0.01)


class ReaderLesson(nn.Module):
    """The first layers of an encoder, and a head over the means of both questions' states.

    The head sees both means, their difference and their product (Conneau et al. 2017, arXiv 1705.02364). It
    is taught alone: the embedder was taught with the same pairs, and beside its cosines of them, which are
    better than those of any others, nothing would be left to learn. A calibration weighs the two.
    """

    def __init__(self, encoder: Encoder, inputs: E5Inputs, head: Linear | None = None) -> None:
        super().__init__()
        self.encoder = TaughtEncoder(replace(encoder, layers=list(encoder.layers)[:LAYERS]))
        self.head = nn.Linear(4 * self.encoder.hidden, 1)
        with torch.no_grad():
            if head is None:
                nn.init.normal_(self.head.weight, std=0.02)
                nn.init.zeros_(self.head.bias)
            else:
                self.head.weight.copy_(torch.from_numpy(head.weight))
                self.head.bias.copy_(torch.from_numpy(head.bias))
        self._inputs = inputs
        self._tokens = lru_cache(None)(inputs.tokens)

    def arranged(self, asked: str, cached: str) -> Arranged:
        """Return the pair's tokens, cut to what is read of it."""
        return arranged(self._inputs, self._tokens(asked), self._tokens(cached), MOST_TOKENS)

    def logits(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        """Return the log-odds that the pairs are the same, (pairs,)."""
        found = [self.arranged(*pair) for pair in pairs]
        states, mask = padded([self._inputs.states(one.ids)[0] for one in found])
        first, second = torch.zeros_like(mask), torch.zeros_like(mask)
        for place, one in enumerate(found):
            first[place, slice(*one.asked)] = True
            second[place, slice(*one.cached)] = True
        on = device()
        read = self.encoder(states.to(on), mask.to(on))
        one, other = mean_over(read, first.to(on)), mean_over(read, second.to(on))
        logits: Tensor = self.head(torch.cat([one, other, (one - other).abs(), one * other], dim=1))[:, 0]
        return logits

    def loss(self, examples: Sequence[Example]) -> Tensor:
        """Return the logistic loss; of half the pairs the cached question comes first.

        Compared with a label is how likely it is to be given, right or wrong (forward correction, Patrini et
        al. 2017, arXiv 1609.03944): a wrong label then costs little, and the reader may be as sure as it is.
        """
        likely = torch.sigmoid(self.logits([_in_some_order(one) for one in examples]))
        noise = torch.tensor([NOISE.get(one.kind, LEAST_NOISE) for one in examples]).to(likely)
        missed, claimed = noise.unbind(dim=1)
        labelled = torch.tensor([float(one.same) for one in examples]).to(likely)
        return functional.binary_cross_entropy(claimed + (1 - missed - claimed) * likely, labelled)

    def scores(self, examples: Sequence[Example]) -> Floats:
        """Return the log-odds of each pair."""
        parts = [examples[start:][:MEASURED_BATCH] for start in range(0, len(examples), MEASURED_BATCH)]
        found = [self.logits([(one.asked, one.cached) for one in part]).cpu().numpy() for part in parts]
        scores: Floats = np.concatenate(found)
        return scores

    def length(self, example: Example) -> int:
        """Return how many tokens the pair takes."""
        return len(self.arranged(example.asked, example.cached).ids)

    def taught_head(self) -> Linear:
        """Return the head's weights."""
        weight, bias = self.head.weight.detach().cpu().numpy(), self.head.bias.detach().cpu().numpy()
        return Linear(weight.astype(np.float32), bias.astype(np.float32))


def teach_reader(
    encoder: Encoder,
    inputs: E5Inputs,
    examples: Sequence[Example],
    kept: Sequence[Example],
    plan: Plan,
    head: Linear | None = None,
) -> tuple[Encoder, Linear, list[Point]]:
    """Return the taught encoder, its head, and what was seen on the way; ``kept`` pairs are only measured."""
    torch.manual_seed(plan.seed)
    lesson = ReaderLesson(encoder, inputs, head).to(device())
    lengths = [lesson.length(one) for one in examples]

    def measure() -> dict[str, float]:
        return area_under_curve(kept, lesson.scores(kept))

    points = teach(lesson, list(lesson.head.parameters()), examples, lengths, lesson.loss, measure, plan)
    return lesson.encoder.encoder(), lesson.taught_head(), points


def _in_some_order(example: Example) -> tuple[str, str]:
    """Turn half of the pairs round, by their texts, so that a run that was stopped does as any other."""
    pair = example.asked, example.cached
    return pair if crc32("\t".join(pair).encode(errors="surrogatepass")) % 2 else pair[::-1]
