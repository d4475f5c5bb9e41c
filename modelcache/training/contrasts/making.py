"""Makes pairs from the tables and from real questions, as many alike as not, kind by kind."""

from collections.abc import Sequence
from random import Random

from modelcache.training.contrasts.bilingual import bilingual
from modelcache.training.contrasts.edits import Editor
from modelcache.training.contrasts.grammar import Change, Grammar, Topic, Value
from modelcache.training.contrasts.surface import roughened
from modelcache.training.contrasts.tables import LANGUAGES, grammar
from modelcache.training.examples import Example

EDITED_SHARE = 0.35
BILINGUAL_SHARE = 0.02
SAME_FRAME = 0.4
ROUGH = 0.3


def contrasts(texts: Sequence[str], count: int, seed: int) -> list[Example]:
    """Return pairs of both languages, made from the tables and by editing the texts; a seed repeats them."""
    rng = Random(seed)
    editor = Editor(texts)
    made: list[Example] = []
    seen: set[tuple[str, str]] = set()
    while len(made) < count:
        example = _example(editor, rng)
        # A pair is not made twice; small tables would otherwise be learnt by heart.
        if example is not None and (example.asked, example.cached) not in seen:
            seen.add((example.asked, example.cached))
            made.append(example)
    return made


def _example(editor: Editor, rng: Random) -> Example | None:
    way = rng.random()
    same = rng.random() < 0.5
    language = rng.choice(LANGUAGES)
    example: Example | None
    if way < BILINGUAL_SHARE:
        example = bilingual(same, language, rng)
    elif way < BILINGUAL_SHARE + EDITED_SHARE and editor:
        example = editor.example(same, language, rng)
    else:
        example = from_tables(grammar(language), same, rng)
    if example is None or example.asked.strip() == example.cached.strip():
        return None
    if rng.random() < 0.5:
        return Example(example.cached, example.asked, example.same, example.kind, example.language)
    return example


def from_tables(tables: Grammar, same: bool, rng: Random) -> Example | None:
    """Return a pair of one topic: spelled twice, or with one thing changed."""
    topic = rng.choices(tables.topics, [topic.rules.weight for topic in tables.topics])[0]
    value = tables.fill(topic.pick(rng), rng)
    change = chosen(tables, topic, value, rng)
    if change is None:
        return None
    other = change.value
    if same:
        other = value
        if value.label in topic.rules.symmetric and rng.random() < 0.5:
            other = tables.exchanged(value)
    frame = rng.choice(value.spellings)
    asked = tables.put(frame, value, rng)
    near = other.spellings == value.spellings and rng.random() < SAME_FRAME
    cached = tables.put(frame if near else rng.choice(other.spellings), other, rng)
    exact = topic.rules.exact
    for _ in range(6):
        if asked != cached or not same:
            break
        cached = tables.spell(other, rng)
    if rng.random() < ROUGH or asked == cached:
        asked = roughened(asked, rng, tables.language, exact)
    if rng.random() < ROUGH:
        cached = roughened(cached, rng, tables.language, exact)
    return Example(asked, cached, same, change.kind, tables.language)


def chosen(tables: Grammar, topic: Topic, value: Value, rng: Random) -> Change | None:
    """Return one of the things that could be different; all kinds have the same chance."""
    changes = tables.changes(value, rng)
    if value.label in topic.rules.directed:
        changes += [Change(tables.exchanged(value), "direction")] * max(1, len(changes))
    return rng.choice(changes) if changes else None
