"""Entries as JSON Lines: out of one pair of stores, and into another one.

A line holds an entry as its row does: hashes of what must be equal, the spliced dialogue, the answer, and
what goes with it. Its embedding is left out unless asked for, and is used only under the same embedder's
name; otherwise the question is embedded anew.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from time import time
from typing import TextIO

from modelcache.admin.line import Line
from modelcache.admin.sources import Source
from modelcache.embedding.gathering import GatheringEmbedder
from modelcache.errors import ConfigError
from modelcache.manager.data_manager import SSDataManager
from modelcache.manager.scalar_data.base import HitUse
from modelcache.processor.pre import make_question
from modelcache.records.dialogue import Message, turns_in
from modelcache.records.entry import NewAnswer, StoredEntry
from modelcache.records.names import model_key
from modelcache.records.vectors import to_bytes
from modelcache.settings import Settings

PAGE_ROWS = 500

Progress = Callable[[int], object]
"""Called with how many more entries are done."""


def export(
    data_manager: SSDataManager,
    models: Sequence[str],
    file: TextIO,
    *,
    after: int = 0,
    embeddings: bool = False,
    progress: Progress = lambda done: None,
) -> int:
    """Write the live entries of the models, by id from ``after`` on, and return how many.

    A page of rows is in memory at a time. Raises StoreError.
    """
    count = 0
    for model in models:
        last = after
        while page := data_manager.scalars.entries(model_key(model), last, PAGE_ROWS, time()):
            for entry in page:
                file.write(_line(entry, embeddings) + "\n")
            last = page[-1].id
            count += len(page)
            progress(len(page))
    return count


def last_exported(path: Path) -> int:
    """Return the id of a file's last whole line, and cut what is behind it; 0 where there is none."""
    last = 0
    with path.open("rb+") as file:
        end = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            last = json.loads(line)["id"]
        file.truncate(end)
    return last


def bring_in(
    data_manager: SSDataManager,
    gathering: GatheringEmbedder,
    settings: Settings,
    source: Source,
    beside: Path,
    progress: Progress = lambda done: None,
) -> int:
    """Insert the entries of a source, in steps, and return how many.

    What is done stands in the file ``beside``, so that a run that was stopped goes on there; an equal
    question is replaced. Raises ConfigError for what is no entry, StoreError and EmbeddingError.
    """
    after, before = _done(beside)
    count = 0
    lines = source.lines(after)
    progress(before)
    while page := list(islice(lines, PAGE_ROWS)):
        _insert(data_manager, gathering, settings, [line for _, line in page])
        count += len(page)
        beside.write_text(f"{page[-1][0]} {before + count}")
        progress(len(page))
    beside.unlink(missing_ok=True)
    return count


def _done(beside: Path) -> tuple[int, int]:
    """Return the place in the source that an earlier run came to, and how many entries it inserted."""
    if not beside.exists():
        return 0, 0
    try:
        place, *count = map(int, beside.read_text().split())
    except ValueError as exc:
        raise ConfigError(f"{beside} does not tell how far a run came: remove it to begin anew") from exc
    return place, count[0] if count else place


def _line(entry: StoredEntry, embeddings: bool) -> str:
    kept = Line(
        id=entry.id,
        model=entry.model,
        partition=entry.partition,
        fingerprint=entry.fingerprint,
        question=entry.question,
        answer=entry.answer,
        created_at=entry.created_at,
        expires_at=entry.expires_at,
        hit_count=entry.hit_count,
        last_used_at=entry.last_used_at,
        tags=list(entry.tags),
        sources=list(entry.sources),
        scope=None if entry.scope is None else json.loads(entry.scope),
        scope_keys=list(entry.scope_keys) if entry.scope is None else [],
        metadata=None if entry.metadata is None else json.loads(entry.metadata),
        envelope=entry.envelope,
        embedder=entry.embedder if embeddings else "",
        embedding=b64encode(entry.embedding).decode() if embeddings and entry.embedding else "",
    )
    return json.dumps(kept.model_dump(exclude_defaults=True), ensure_ascii=False)


def _insert(
    data_manager: SSDataManager, gathering: GatheringEmbedder, settings: Settings, lines: Sequence[Line]
) -> None:
    by_model: dict[str, list[Line]] = {}
    for line in lines:
        by_model.setdefault(line.model, []).append(line)
    for model, own in by_model.items():
        answers = [_answer(line) for line in own]
        ids = data_manager.insert(model, _embedded(answers, own, data_manager.embedder, gathering, settings))
        uses = {
            id_: HitUse(line.hit_count, line.last_used_at)
            for id_, line in zip(ids, own, strict=True)
            if line.hit_count
        }
        if uses:
            data_manager.scalars.record_hits(uses)


def _answer(line: Line) -> NewAnswer:
    return NewAnswer(
        model=line.model,
        model_key=model_key(line.model),
        partition=line.partition,
        fingerprint=line.fingerprint,
        question=line.question,
        answer=line.answer,
        embedder="",
        embedding=None,
        expires_at=line.expires_at,
        tags=tuple(line.tags),
        scope=line.scope or {},
        scope_keys=() if line.scope else tuple(line.scope_keys),
        sources=tuple(line.sources),
        created_at=line.created_at,
        metadata=None if line.metadata is None else json.dumps(line.metadata, ensure_ascii=False),
        envelope=line.envelope,
    )


def _embedded(
    answers: Sequence[NewAnswer],
    lines: Sequence[Line],
    embedder: str,
    gathering: GatheringEmbedder,
    settings: Settings,
) -> list[NewAnswer]:
    """Give each answer its embedding: the line's own or, under another embedder's name, a new one."""
    longest = min(settings.max_embed_chars, gathering.max_chars)
    texts: list[tuple[str, ...]] = []
    for new, line in zip(answers, lines, strict=True):
        if line.embedder == embedder and line.embedding:
            texts.append(())
            continue
        messages = [Message(role, content) for role, content in turns_in(new.question)]
        # Its hashes are the line's own; only what is embedded is taken of it.
        question = make_question(new.model, {}, messages or [Message("user", new.question)], settings)
        is_compared = question.is_comparable and len(question.text) <= longest
        texts.append(question.texts if is_compared else ())
    wanted = list(dict.fromkeys(text for each in texts for text in each))
    vectors = dict(zip(wanted, gathering.embed(wanted) if wanted else (), strict=True))
    embedded = []
    for new, line, own in zip(answers, lines, texts, strict=True):
        if own:
            packed = b"".join(to_bytes(vectors[text]) for text in own)
            embedded.append(replace(new, embedder=embedder, embedding=packed))
        elif line.embedder == embedder and line.embedding:
            embedded.append(replace(new, embedder=embedder, embedding=b64decode(line.embedding)))
        else:
            embedded.append(new)
    return embedded
