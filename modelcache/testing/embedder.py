"""What every embedder is tested for; a test class inherits it and gives the fixture ``embedder``."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from numpy.typing import NDArray

from modelcache.embedding.base import Embedder

TOLERANCE = 1e-4
THREADS = 8
TEXTS = [
    "How do I cancel my subscription?",
    "a",
    "你好，怎么取消订阅？",
    "a b c a b c a b c",
    "The cache answers a question that was asked before, in other words.",
    "北京今天的天气怎么样",
]
ODD_TEXTS = {
    "empty": "",
    "spaces": "   ",
    "line ends": "\n\r\t",
    "control characters": "\x01\x02\x1b\x7f",
    "only NUL": "\0",
    "NUL inside": "a\0b",
    "lone high surrogate": "a \ud83d b",
    "lone low surrogate": "\ude00",
    "emoji": "👩‍👩‍👧 😀",
    "megabyte": "缓存 cache ab " * 75_000,
}


def assert_unit_rows(vectors: NDArray[np.float32]) -> None:
    """Fail unless every row is finite and of length one."""
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=TOLERANCE)


class EmbedderContract:
    """The promises of ``modelcache.embedding.base.Embedder``."""

    def test_it_says_what_it_is(self, embedder: Embedder) -> None:
        assert embedder.name
        assert embedder.dimension > 0
        assert 0 < embedder.thresholds.short <= 1
        assert 0 < embedder.thresholds.long <= 1

    def test_rows_are_float32_of_unit_length(self, embedder: Embedder) -> None:
        vectors = embedder.embed(TEXTS)
        assert vectors.shape == (len(TEXTS), embedder.dimension)
        assert vectors.dtype == np.float32
        assert_unit_rows(vectors)

    def test_no_texts_give_no_rows(self, embedder: Embedder) -> None:
        vectors = embedder.embed([])
        assert vectors.shape == (0, embedder.dimension)
        assert vectors.dtype == np.float32

    @pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=list(ODD_TEXTS))
    def test_odd_text_has_a_vector(self, embedder: Embedder, text: str) -> None:
        vectors = embedder.embed([text])
        assert vectors.shape == (1, embedder.dimension)
        assert_unit_rows(vectors)

    def test_odd_texts_pass_in_one_batch(self, embedder: Embedder) -> None:
        texts = [text for text in ODD_TEXTS.values() if len(text) < 100]
        assert_unit_rows(embedder.embed(texts))

    def test_text_behind_a_nul_counts(self, embedder: Embedder) -> None:
        whole, cut = embedder.embed(["a\0b", "a"])
        assert not np.allclose(whole, cut, atol=TOLERANCE)

    def test_batch_equals_single_calls(self, embedder: Embedder) -> None:
        singles = np.concatenate([embedder.embed([text]) for text in TEXTS])
        np.testing.assert_allclose(embedder.embed(TEXTS), singles, atol=TOLERANCE)

    def test_equal_texts_have_equal_vectors(self, embedder: Embedder) -> None:
        first, _, second = embedder.embed([TEXTS[0], TEXTS[2], TEXTS[0]])
        np.testing.assert_allclose(first, second, atol=TOLERANCE)

    @pytest.mark.parametrize("text", [*TEXTS, *ODD_TEXTS.values()], ids=lambda text: repr(text[:20]))
    def test_unknown_tokens_are_parts_of_the_text(self, embedder: Embedder, text: str) -> None:
        ranges = embedder.unknown_tokens(text)
        assert ranges == sorted(ranges)
        assert all(0 <= start < end <= len(text) for start, end in ranges)

    def test_threads_get_the_vectors_of_one(self, embedder: Embedder) -> None:
        expected = embedder.embed(TEXTS)
        together = Barrier(THREADS)

        def embed_rotated(shift: int) -> NDArray[np.float32]:
            together.wait()
            vectors = embedder.embed(TEXTS[shift:] + TEXTS[:shift])
            return np.roll(vectors, shift, axis=0)

        with ThreadPoolExecutor(THREADS) as pool:
            shifts = [number % len(TEXTS) for number in range(THREADS)]
            for vectors in pool.map(embed_rotated, shifts):
                np.testing.assert_allclose(vectors, expected, atol=TOLERANCE)
