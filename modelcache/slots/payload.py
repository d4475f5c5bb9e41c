"""The text that a prompt hands on to be worked on: the review to be summarised, the sentence to translate."""

import re

from modelcache.language.tokens import words_of

LONGEST = 4096
COLON = re.compile(r"[:：]\s*(?=\S)")
MOST_INSTRUCTION = 160
# Fewer words may be anything, such as the question itself.
LEAST_WORDS = 6
QUESTION_MARKS = ("?", "？")
ASKING = (*QUESTION_MARKS, ":", "：")


def payload_of(text: str) -> frozenset[str]:
    """Return the payload's words, empty where there is none.

    Of several lines the first is the instruction, or the last where that ends with a colon or asks; in a text
    of one line it ends with a colon. A question is no payload: it may be asked in other words.
    """
    lines = [line.strip() for line in text[:LONGEST].splitlines() if line.strip()]
    if len(lines) > 1:
        handed_on = " ".join(lines[:-1] if lines[-1].endswith(ASKING) else lines[1:])
    else:
        parted = COLON.split(text[:LONGEST], maxsplit=1)
        handed_on = parted[-1] if len(parted) == 2 and len(parted[0]) <= MOST_INSTRUCTION else ""
    if not handed_on or handed_on.rstrip().endswith(QUESTION_MARKS):
        return frozenset()
    words = frozenset(words_of(handed_on))
    return words if len(words) >= LEAST_WORDS else frozenset()
