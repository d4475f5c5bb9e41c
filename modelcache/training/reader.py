"""Teaches the reader, which sees both questions at once: does one answer serve both?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modelcache.embedding.e5 import LAYERS_OF_ONE_TEXT, States
from modelcache.model_building.encoder import Encoder, Floats, Linear, PairEncoder
from modelcache.similarity_evaluation.paraphrase import parts
from modelcache.training.embedder import BIAS, SCALE
from modelcache.training.examples import Example
from modelcache.training.figures import area_under_curve
from modelcache.training.loop import Plan, Point, device, teach
from modelcache.training.network import TaughtPairEncoder, mean_over, padded

# Of a longer pair only what differs is read, as when it is judged.
MOST_TOKENS = 128
# Labels of people are wrong now and then, those of contrasts hardly ever.
SMOOTHING = {"qqp": 0.08, "atec": 0.08, "afqmc": 0.06, "bq": 0.06, "simclue": 0.06, "oppo": 0.04}
LEAST_SMOOTHING = 0.02
MEASURED_BATCH = 64


class Text(NamedTuple):
    """What the embedder gives for a text."""

    ids: Sequence[int]
    states: States
    """Of its tokens behind the embedder's lower layers, (tokens, hidden)."""
    vector: Floats
    """The embedding, of unit length."""


Texts = Mapping[str, Text]


class ReaderLesson(nn.Module):
    """Layers over the states of both questions, and a head over the means of what comes out.

    The head sees the sum of both means, their difference and their product (after Conneau et al. 2017, arXiv
    1705.02364). It says what is to be added to the log-odds by the embedder's cosine, and is taught what
    that does not know.
    """

    def __init__(self, encoder: PairEncoder, texts: Texts, head: Linear | None = None) -> None:
        super().__init__()
        self._texts = texts
        self.encoder = TaughtPairEncoder(encoder)
        self.head = nn.Linear(3 * encoder.layers[0].attended.weight.shape[0], 1)
        with torch.no_grad():
            if head is None:
                # So it begins with what the cosine says.
                nn.init.zeros_(self.head.weight)
                nn.init.zeros_(self.head.bias)
            else:
                self.head.weight.copy_(torch.from_numpy(head.weight))
                self.head.bias.copy_(torch.from_numpy(head.bias))

    def logits(self, examples: Sequence[Example]) -> Tensor:
        """Return what is added to the log-odds of the pairs, (pairs,)."""
        pairs = [self._read(one) for one in examples]
        states, mask = padded([np.concatenate(pair) for pair in pairs])
        places = torch.arange(states.shape[1])[None, :]
        first = places < torch.tensor([len(one) for one, _ in pairs])[:, None]
        on = device()
        states, first, second = states.to(on), first.to(on), (mask & ~first).to(on)
        read = self.encoder(states, first, second)
        one, other = mean_over(read, first), mean_over(read, second)
        logits: Tensor = self.head(torch.cat([one + other, (one - other).abs(), one * other], dim=1))[:, 0]
        return logits

    def loss(self, examples: Sequence[Example]) -> Tensor:
        """Return the logistic loss."""
        logits = self.logits(examples)
        logits = logits + torch.from_numpy(self._by_cosine(examples)).to(logits.device)
        smoothing = torch.tensor([SMOOTHING.get(one.kind, LEAST_SMOOTHING) for one in examples])
        same = torch.tensor([float(one.same) for one in examples])
        wanted = (same * (1 - 2 * smoothing) + smoothing).to(logits.device)
        return functional.binary_cross_entropy_with_logits(logits, wanted)

    def scores(self, examples: Sequence[Example]) -> Floats:
        """Return the log-odds of each pair, by the cosine and by what the reader adds."""
        batches = [examples[start:][:MEASURED_BATCH] for start in range(0, len(examples), MEASURED_BATCH)]
        found = [self.logits(batch).cpu().numpy() for batch in batches]
        scores: Floats = np.concatenate(found) + self._by_cosine(examples)
        return scores

    def length(self, example: Example) -> int:
        """Return how many tokens the pair takes."""
        return sum(len(states) for states in self._read(example))

    def taught_head(self) -> Linear:
        """Return the head's weights."""
        weight, bias = self.head.weight.detach().cpu().numpy(), self.head.bias.detach().cpu().numpy()
        return Linear(weight.astype(np.float32), bias.astype(np.float32))

    def _read(self, example: Example) -> tuple[States, States]:
        """Return the states of both texts, cut to what is read of them."""
        one, other = self._texts[example.asked], self._texts[example.cached]
        read = parts(one.ids, other.ids, MOST_TOKENS)
        return one.states[read.one], other.states[read.other]

    def _by_cosine(self, examples: Sequence[Example]) -> Floats:
        cosines = [self._texts[one.asked].vector @ self._texts[one.cached].vector for one in examples]
        odds: Floats = SCALE * (np.array(cosines, np.float32) - BIAS)
        return odds


def untaught_reader(encoder: Encoder) -> PairEncoder:
    """Return the embedder's upper layers, in which tokens look at those of the other text as at their own."""
    layers = encoder.layers[LAYERS_OF_ONE_TEXT:]
    return PairEncoder(
        layers, np.zeros((len(layers), encoder.heads), np.float32), encoder.heads, encoder.epsilon
    )


def teach_reader(
    encoder: PairEncoder,
    examples: Sequence[Example],
    kept: Sequence[Example],
    texts: Texts,
    plan: Plan,
    head: Linear | None = None,
) -> tuple[PairEncoder, Linear, list[Point]]:
    """Return the taught layers, their head, and what was seen; ``kept`` pairs are only measured."""
    torch.manual_seed(plan.seed)
    lesson = ReaderLesson(encoder, texts, head).to(device())
    lengths = [lesson.length(one) for one in examples]

    def measure() -> dict[str, float]:
        return area_under_curve(kept, lesson.scores(kept))

    points = teach(lesson, list(lesson.head.parameters()), examples, lengths, lesson.loss, measure, plan)
    return lesson.encoder.encoder(), lesson.taught_head(), points
