"""Teaches the embedder: cosines of pairs that one answer serves rise, those of look-alikes fall."""

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modelcache.embedding.e5_inputs import E5Inputs
from modelcache.model_building.encoder import Encoder, Floats
from modelcache.training.examples import Example
from modelcache.training.figures import area_under_curve
from modelcache.training.loop import Plan, Point, device, teach
from modelcache.training.network import TaughtEncoder, mean_over, padded

# A longer text says most of it in its beginning, as far as a lesson goes.
MOST_TOKENS = 48
# Untaught layers keep what the model knows of other languages, and make a step a third faster.
FROZEN = 6
# By these a cosine becomes log-odds. What is taught comes out near them.
SCALE, BIAS = 22.0, 0.88
# Some labels are wrong: certainty is not asked for.
SMOOTHING = 0.05
# The own question must stay nearer than all others of the batch.
OTHERS_WEIGHT = 0.3
OTHERS_SCALE = 30.0
MEASURED_BATCH = 64


class EmbedderLesson(nn.Module):
    """The encoder and the scale and bias by which a cosine becomes a probability."""

    def __init__(self, encoder: Encoder, inputs: E5Inputs, frozen: int = FROZEN) -> None:
        super().__init__()
        self.encoder = TaughtEncoder(encoder, frozen)
        self.scale = nn.Parameter(torch.tensor(SCALE))
        self.bias = nn.Parameter(torch.tensor(BIAS))
        self._inputs = inputs
        self._ids = lru_cache(None)(self._tokens)

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors, (texts, hidden)."""
        states, mask = padded([self._inputs.states(self._ids(text))[0] for text in texts])
        on = device()
        states, mask = states.to(on), mask.to(on)
        return functional.normalize(mean_over(self.encoder(states, mask), mask), dim=1)

    def loss(self, examples: Sequence[Example]) -> Tensor:
        """Return the logistic loss of the pairs, and that of finding the own question among the batch's."""
        texts = [one.asked for one in examples] + [one.cached for one in examples]
        asked, cached = self.vectors(texts).split(len(examples))
        same = torch.tensor([one.same for one in examples], device=asked.device)
        wanted = same.float() * (1 - 2 * SMOOTHING) + SMOOTHING
        logits = self.scale * ((asked * cached).sum(1) - self.bias)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted)
        if same.any():
            every = asked[same] @ torch.cat([cached, asked]).T * OTHERS_SCALE
            own = same.nonzero()[:, 0]
            every[torch.arange(len(own)), own + len(examples)] = -torch.inf  # itself
            loss = loss + OTHERS_WEIGHT * functional.cross_entropy(every, own)
        return loss

    def cosines(self, examples: Sequence[Example]) -> Floats:
        """Return the cosine of each pair."""
        found = []
        for start in range(0, len(examples), MEASURED_BATCH):
            part = examples[start : start + MEASURED_BATCH]
            asked, cached = self.vectors([one.asked for one in part] + [one.cached for one in part]).split(
                len(part)
            )
            found.append((asked * cached).sum(1).cpu().numpy())
        return cast(Floats, np.concatenate(found))

    def length(self, example: Example) -> int:
        """Return how many tokens the longer of the two texts has."""
        return max(len(self._ids(example.asked)), len(self._ids(example.cached)))

    def _tokens(self, text: str) -> list[int]:
        ids = self._inputs.windows(text)[0]
        return ids if len(ids) <= MOST_TOKENS else [*ids[: MOST_TOKENS - 1], ids[-1]]


def teach_embedder(
    encoder: Encoder, inputs: E5Inputs, examples: Sequence[Example], kept: Sequence[Example], plan: Plan
) -> tuple[Encoder, list[Point]]:
    """Return the taught encoder and what was seen on the way; ``kept`` pairs are only measured."""
    torch.manual_seed(plan.seed)
    lesson = EmbedderLesson(encoder, inputs).to(device())
    head = [lesson.scale, lesson.bias]
    lengths = [lesson.length(one) for one in examples]

    def measure() -> dict[str, float]:
        return area_under_curve(kept, lesson.cosines(kept))

    points = teach(lesson, head, examples, lengths, lesson.loss, measure, plan)
    return lesson.encoder.encoder(), points
