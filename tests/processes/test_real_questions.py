"""Thousands of real questions through the demo as it ships: every one comes back with its answer."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.question_pairs import HOW_TO_GET, data_folder, distinct_questions
from tests.support.running import RunningService

pytestmark = pytest.mark.process

COUNT = 5000
BATCH = 200


@pytest.fixture(scope="module")
def questions() -> list[str]:
    folder = data_folder()
    if folder is None:
        pytest.skip(HOW_TO_GET)
    return distinct_questions(folder, COUNT)


def test_every_question_is_an_exact_hit_also_after_a_kill(tmp_path: Path, questions: list[str]) -> None:
    assert len(set(questions)) == COUNT
    service = RunningService(tmp_path, "flask4modelcache_demo.py").wait_ready()
    for start in range(0, COUNT, BATCH):
        pairs = [(question, f"the answer to: {question}") for question in questions[start : start + BATCH]]
        reply = service.insert(pairs)
        assert (reply["errorCode"], len(reply["ids"])) == (0, BATCH)
    assert exact_hits(service, questions) == COUNT

    service.kill()
    again = RunningService(tmp_path, "flask4modelcache_demo.py").wait_ready()
    assert exact_hits(again, questions) == COUNT
    # The vectors are back too: with the exact tier out of the way, each finds itself.
    for question in questions[:: COUNT // 50]:
        reply = again.query(f"  {question} ?")
        assert reply["similarity"] > 0.9
    assert again.terminate() == 0


def exact_hits(service: RunningService, questions: Sequence[str]) -> int:
    """Ask them all, and count the exact hits with the right answer."""
    hits = 0
    for question in questions:
        reply = service.query(question)
        hits += reply["hit_type"] == "exact" and reply["answer"] == f"the answer to: {question}"
    return hits
