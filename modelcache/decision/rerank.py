"""Score pairs of questions with a cross-encoder, which reads both at once, within a time budget."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from modelcache.embedding.base import usable_cores
from modelcache.embedding.folder import resolve_folder
from modelcache.embedding.text import clean
from modelcache.embedding.text2vec import missing_file
from modelcache.embedding.transformer import is_unreadable
from modelcache.errors import ConfigError
from modelcache.settings import Settings

logger = logging.getLogger(__name__)

# Where two labels have other names, the second is the one that says yes, as in transformers' own examples.
SAME_LABELS = frozenset(
    {"duplicate", "is_duplicate", "paraphrase", "equivalent", "entailment", "same", "yes"}
)
# What a model or its tokenizer may raise at a batch: torch's own (out of memory, a lost GPU), and what
# comes of a token that the weights do not know.
FAILURES = (RuntimeError, LookupError, ValueError)
MAX_TOKENS = 512
# Longer texts are cut as embedders do; their tokens would be more than the model reads.
MAX_CHARS = 2048


class Reranker:
    """A sequence-classification model of ``transformers``, in threads of its own; safe to call from many.

    Cross-encoders for semantic similarity: Nogueira and Cho, Passage Re-ranking with BERT,
    arXiv:1901.04085. With one label the score is the logit's sigmoid, with two the probability that
    softmax gives the label of duplicates.
    """

    def __init__(self, folder: Path, threshold: float, budget: float) -> None:
        """``budget`` is in seconds: how long a decision waits for the scores."""
        self.threshold = threshold
        self._folder = folder
        self._budget = budget
        self._torch: Any = None
        self._tokenizer: Any = None
        self._model: Any = None
        self._same_label = 0
        self._limit = MAX_TOKENS
        self._workers: ThreadPoolExecutor | None = None
        # A fast tokenizer keeps its truncation as state and refuses to be borrowed twice.
        self._tokenizer_lock = Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> "Reranker | None":
        """Take folder, threshold and budget from the settings; None where no folder is named."""
        if settings.rerank_path is None:
            return None
        return cls(settings.rerank_path, settings.rerank_threshold, settings.rerank_budget_ms / 1000)

    def open(self) -> None:
        """Load the model; ConfigError says in one sentence why the folder cannot be used."""
        self._folder = resolve_folder(self._folder)
        missing = missing_file(self._folder)
        if missing is not None:
            raise ConfigError(f"rerank_path: {self._folder} has no {missing}")
        try:
            self._torch = import_module("torch")
            transformers: Any = import_module("transformers")
        except ModuleNotFoundError as exc:
            raise ConfigError(f"rerank_path needs the Python package {exc.name!r}, which is absent") from exc
        transformers.utils.logging.disable_progress_bar()
        # One core a decision, and as many at a time as there are cores: threads that share a batch wait for
        # each other by spinning, which on busy cores was seen to take seven times the work of one thread.
        self._workers = ThreadPoolExecutor(
            usable_cores(), "modelcache-reranker", initializer=self._torch.set_num_threads, initargs=(1,)
        )
        try:
            self._read(transformers)
            probe = self._workers.submit(self._score, "probe", ["probe", "another"]).result()
        except Exception as exc:
            self.close()
            if not is_unreadable(exc):
                raise
            raise ConfigError(
                f"rerank_path: {self._folder} is no sequence-classification model that can be read"
            ) from exc
        if not np.isfinite(probe).all():
            self.close()
            raise ConfigError(f"rerank_path: {self._folder} has weights that give no finite scores")

    def close(self) -> None:
        """End the threads, once they have done what they are at; harmless when repeated."""
        if self._workers is not None:
            self._workers.shutdown(cancel_futures=True)

    def score(self, asked: str, cached: Sequence[str]) -> list[float] | None:
        """Return for each cached question how likely it is that it asks the same, 0..1.

        None when the budget is used up, or the model fails: then the decision is made without it.
        """
        assert self._workers is not None
        pending = self._workers.submit(self._score, asked, cached)
        try:
            return pending.result(self._budget)
        except FutureTimeoutError:
            # If it waits still, nobody needs it any more.
            pending.cancel()
            logger.debug("the reranker's budget is used up")
        except FAILURES:
            logger.exception("the reranker failed")
        return None

    def _read(self, transformers: Any) -> None:
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(self._folder, local_files_only=True)
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            self._folder, local_files_only=True, dtype=self._torch.float32, output_loading_info=True
        )
        # Absent layers are filled with noise and only logged: without its head a model scores at random.
        if report["missing_keys"]:
            raise ConfigError(
                f"rerank_path: {self._folder} is no sequence-classification model: it has no "
                f"{sorted(report['missing_keys'])[0]}"
            )
        names = [str(model.config.id2label[number]).lower() for number in range(model.config.num_labels)]
        if len(names) > 2:
            raise ConfigError(f"rerank_path: {self._folder} has {len(names)} labels instead of one or two")
        named = [number for number, name in enumerate(names) if name in SAME_LABELS]
        self._same_label = named[0] if len(named) == 1 else len(names) - 1
        positions = getattr(model.config, "max_position_embeddings", None) or MAX_TOKENS
        self._limit = int(min(positions, self._tokenizer.model_max_length, MAX_TOKENS))
        self._model = model.to("cuda" if self._torch.cuda.is_available() else "cpu").eval()

    def _score(self, asked: str, cached: Sequence[str]) -> list[float]:
        """Score all pairs in one batch."""
        with self._tokenizer_lock:
            encoded = self._tokenizer(
                [clean(asked, MAX_CHARS)] * len(cached),
                [clean(text, MAX_CHARS) for text in cached],
                padding=True,
                truncation=True,
                max_length=self._limit,
                return_tensors="pt",
            )
        encoded = encoded.to(self._model.device)
        with self._torch.inference_mode():
            logits = self._model(**encoded).logits
            if logits.shape[1] == 1:
                scores = self._torch.sigmoid(logits[:, 0])
            else:
                scores = self._torch.softmax(logits, dim=1)[:, self._same_label]
        found: list[float] = scores.cpu().tolist()
        return found
