"""What happens in a service, told to whoever counts, traces or logs it."""

from typing import NamedTuple

HIT, MISS, BYPASS, ERROR = "hit", "miss", "bypass", "error"
EXACT, SEMANTIC, COLLAPSED = "exact", "semantic", "collapsed"
QUERY, CHANGE = "query", "change"
RIGHT, WRONG, UNCLEAR = "right", "wrong", "unclear"


class Usage(NamedTuple):
    """Tokens that an answer cost when it was made."""

    prompt: int
    completion: int


class Queried(NamedTuple):
    """A query was answered, or not, or failed."""

    api: str
    """`modelcache`, `gateway`, `langcache` or `gptcache`."""
    model: str
    model_key: str
    outcome: str
    """HIT, MISS, BYPASS (the cache had no part in it) or ERROR."""
    seconds: float
    """What the look-up took."""
    hit_type: str = ""
    """EXACT, SEMANTIC, or COLLAPSED for the answer to an equal request under way; "" without a hit."""
    reason: str = ""
    """Why the cache was bypassed, in a word; "" otherwise."""
    veto: str = ""
    """The rule that refused the nearest entry; "" if none did."""
    is_withheld: bool = False
    """Whether there was an answer that the model's mode does not serve."""
    similarity: float | None = None
    confidence: float | None = None
    """Both of the entry or, where there is none, of the nearest one; None where nothing was compared."""
    entry_id: int | None = None
    entry_age: float | None = None
    """Seconds since the entry was kept; None where that is not known."""
    usage: Usage | None = None
    """Of the answer from the cache; None where that is not known."""
    question: str = ""
    """What was asked, for those whom an operator lets see it."""


class Inserted(NamedTuple):
    """Entries were stored."""

    api: str
    model: str
    model_key: str
    entries: int


class Removed(NamedTuple):
    """Entries answer no more."""

    model_key: str
    """"" for several models at once."""
    cause: str
    """`id`, `tag`, `source`, `scope`, `age`, `truncate`, `evicted` or `expired`."""
    entries: int


class Told(NamedTuple):
    """A user said of an answer whether it was right."""

    model: str
    model_key: str
    verdict: str
    """RIGHT or WRONG."""
    status: str
    """What became of it: `recorded`, `retired` or `unknown`."""


class Compared(NamedTuple):
    """The answer that came after a miss was compared with what the cache would have answered."""

    model_key: str
    verdict: str
    """RIGHT, WRONG, or UNCLEAR where the two answers are neither the same nor different."""


class Embedded(NamedTuple):
    """The embedder was called."""

    texts: int
    seconds: float
    failed: bool


class SentOn(NamedTuple):
    """The gateway asked the server behind it."""

    status: str
    """The HTTP status of its reply, or in a word why there is none."""
    seconds: float
    """Until the reply's head came."""


class Failed(NamedTuple):
    """A request was refused or failed."""

    api: str
    request: str
    """`query`, `insert`, `remove`, `register` or `feedback`; `change` where an API tells these not apart."""
    code: int
    """The error code, or the HTTP status, of the reply."""
