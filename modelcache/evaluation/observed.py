"""``python -m modelcache observed-pairs``: what users and true answers told of hits, as labelled pairs.

An observation knows its question by a hash, the query log has the texts: hashing those again joins the two.
So a question counts whose log line is kept and whole, and whose scope is the model alone.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from modelcache.errors import ConfigError
from modelcache.evaluation.pairs import Dialogue, LabelledPair
from modelcache.manager.factory import get_scalar_store
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.processor.pre import make_question
from modelcache.records.dialogue import SYSTEM, Message, turns_in
from modelcache.records.names import model_key
from modelcache.settings import Settings

MOST = 100_000
TOLD, SEEN = "feedback", "answers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="where to write the pairs")
    parser.add_argument(
        "--model", action="append", default=[], help="of this model; may be repeated; otherwise of all"
    )


def run(settings: Settings, asked: argparse.Namespace) -> None:
    """Write the pairs as ``evaluate``, ``calibrate`` and ``train`` take them; may run beside a service.

    ConfigError where there are none.
    """
    scalars = get_scalar_store(settings)
    scalars.open()
    try:
        models = asked.model or scalars.models()
        pairs = [pair for model in models for pair in observed_pairs(scalars, model, settings)]
    finally:
        scalars.close()
    if not pairs:
        raise ConfigError("nothing was observed yet of questions whose log lines are kept")
    lines = (
        {"a": pair.cached, "b": pair.asked, "same": int(pair.same), "group": pair.kind} for pair in pairs
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    asked.to.write_text(text, encoding="utf-8")
    same = sum(pair.same for pair in pairs)
    print(f"wrote {asked.to}: {same} pairs that one answer serves, {len(pairs) - same} that it does not")


def observed_pairs(scalars: ScalarStore, model: str, settings: Settings) -> Iterator[LabelledPair]:
    """Give what was observed of a model's entries, the newest first; of a question and an entry once.

    What a user told goes before what the answers showed.
    """
    key = model_key(model)
    dialogues = {
        make_question(model, {}, turns, settings).fingerprint: turns
        for turns in map(_messages, dict.fromkeys(scalars.logged(key, MOST)))
        if any(turn.role != SYSTEM for turn in turns)
    }
    observations = sorted(scalars.model_observations(key, MOST), key=lambda one: not one.told)
    entries = scalars.answers(list({one.answer_id for one in observations}))
    given: set[tuple[int, str]] = set()
    for one in observations:
        asked, entry = dialogues.get(one.fingerprint), entries.get(one.answer_id)
        named = one.answer_id, one.fingerprint
        if asked is None or entry is None or named in given or entry.fingerprint == one.fingerprint:
            continue
        given.add(named)
        yield LabelledPair(
            _dialogue(_messages(entry.question)), _dialogue(asked), one.correct, TOLD if one.told else SEEN
        )


def _messages(dialogue: str) -> list[Message]:
    return [Message(role, content) for role, content in turns_in(dialogue)]


def _dialogue(messages: Sequence[Message]) -> Dialogue:
    return [{"role": message.role, "content": message.content} for message in messages]
