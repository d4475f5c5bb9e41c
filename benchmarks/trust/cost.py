"""What the decision costs beside the embedding."""

from collections.abc import Sequence
from statistics import quantiles
from time import perf_counter

from tqdm import tqdm

from benchmarks.measure import Report
from benchmarks.trust.product import Product
from modelcache.processor.pre import make_question
from modelcache.records.dialogue import Message

CANDIDATES = 5
COLUMNS = ("questions", "number", "p50 µs", "p95 µs")


def cost_lines(product: Product, title: str, model: str, texts: Sequence[str]) -> list[Sequence[str]]:
    """Time what a query decides by, for each question once, and the judging of all five candidates.

    No text is read twice in each of both, as if none were popular.
    """
    return [
        _line(product, f"{title}, a query at default settings", model, texts[::2], as_query=True),
        _line(product, f"{title}, five candidates judged", model, texts[1::2], as_query=False),
    ]


def _line(product: Product, title: str, model: str, texts: Sequence[str], *, as_query: bool) -> Sequence[str]:
    cache = product.cache
    vectors = product.embed(texts)
    microseconds = []
    for text, vector in zip(tqdm(texts, desc="judging", leave=False, disable=None), vectors, strict=True):
        question = make_question(model, {}, [Message("user", text)], cache.settings)
        candidates = cache.data_manager.search(model, question.partition, vector, CANDIDATES)
        threshold = cache.lookup.threshold(question)
        started = perf_counter()
        if as_query:
            cache.lookup.judge_nearest_first(question, vector, candidates, threshold, threshold)
        else:
            cache.judge.choose(question, cache.judge.judge(question, candidates), threshold)
        microseconds.append(1e6 * (perf_counter() - started))
    cuts = quantiles(microseconds, n=20, method="inclusive")
    return title, f"{len(texts):,}", f"{cuts[9]:.0f}", f"{cuts[18]:.0f}"


def cost_report(lines: Sequence[Sequence[str]]) -> Report:
    return Report("trust-cost", COLUMNS, lines)
