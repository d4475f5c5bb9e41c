"""Store questions with their answers, all of a request or none."""

import json
from time import time

from modelcache.adapter import reply
from modelcache.adapter.reply import Reply
from modelcache.adapter.request import InsertRequest
from modelcache.core import Cache
from modelcache.errors import BlacklistError
from modelcache.processor.canonical import canonical
from modelcache.processor.pre import make_question
from modelcache.records.entry import NewAnswer
from modelcache.records.vectors import to_bytes


def insert(cache: Cache, asked: InsertRequest) -> Reply:
    """Embed every question in one batch, then write."""
    model = asked.scope.model
    if model in cache.settings.model_blacklist:
        raise BlacklistError(f"model: {model} in blacklist")
    questions = [
        make_question(
            model, asked.scope.keys, [message.to_message() for message in info.query], cache.settings
        )
        for info in asked.chat_info
    ]
    texts = list(
        {text: None for question in questions if cache.lookup.compares(question) for text in question.texts}
    )
    # Read before: should the embedder change meanwhile, nothing of the old one is taken for the new one's.
    embedder = cache.data_manager.embedder
    vectors = cache.gathering.embed(texts) if texts else ()
    embeddings = {text: to_bytes(vector) for text, vector in zip(texts, vectors, strict=True)}
    now = time()
    default_ttl = cache.learner.policy(questions[0].model_key).ttl
    answers = []
    for question, info in zip(questions, asked.chat_info, strict=True):
        embedded = cache.lookup.compares(question)
        answers.append(
            NewAnswer(
                model=model,
                model_key=question.model_key,
                partition=question.partition,
                fingerprint=question.fingerprint,
                question=question.dialogue,
                answer=info.answer,
                embedder=embedder if embedded else "",
                embedding=b"".join(embeddings[text] for text in question.texts) if embedded else None,
                expires_at=None if (ttl := info.ttl or default_ttl) is None else now + ttl,
                tags=tuple(info.tags or ()),
                scope=canonical(asked.scope.keys),
                metadata=None if info.metadata is None else json.dumps(info.metadata, ensure_ascii=False),
            )
        )
    ids = cache.data_manager.insert(model, answers)
    cache.learner.inserted(
        questions[0].model_key,
        [(new.fingerprint, id_, new.answer) for id_, new in zip(ids, answers, strict=True)],
    )
    return reply.inserted(ids)
