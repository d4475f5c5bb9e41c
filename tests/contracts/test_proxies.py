"""What stands before a store names every method of the contract, and hands on what it is given."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, get_origin

import pytest

from modelcache.errors import StoreError
from modelcache.manager.eviction.base import EvictionBook
from modelcache.manager.eviction.proxy import EvictionBookProxy
from modelcache.manager.guard import Guard, GuardedBook, GuardedScalars, GuardedVectors
from modelcache.manager.scalar_data.base import ScalarStore
from modelcache.manager.scalar_data.proxy import ScalarStoreProxy
from modelcache.manager.scalar_data.remembered import RememberingScalars
from modelcache.manager.vector_data.base import VectorStore
from modelcache.manager.vector_data.proxy import VectorStoreProxy

CONTRACTS: dict[type[Any], type[Any]] = {
    ScalarStore: ScalarStoreProxy,
    VectorStore: VectorStoreProxy,
    EvictionBook: EvictionBookProxy,
}
GUARDED: dict[type[Any], type[Any]] = {
    ScalarStore: GuardedScalars,
    VectorStore: GuardedVectors,
    EvictionBook: GuardedBook,
}
# These neither pass a row that answers nor make one stop: a new method of the contract is put here, or
# into ``RememberingScalars``.
NOTHING_TO_REMEMBER = {
    *("open", "ping", "models", "count", "uses", "record_hits", "embedded_ids", "embeddings"),
    # Rows that do not answer yet, or no longer.
    *("add", "discard", "discard_unfinished", "dead", "dead_counts", "purge"),
    # By id, of rows that are read from the store each time.
    *("get_live", "answers", "entries", "entry", "find_entries"),
    # What may be inserted later.
    *("note_removal", "trim_removals"),
    *("probe", "keep_probe", "envelope", "release_lease", "trim_leases"),
    *("observations", "model_observations", "keep_lookups", "take_lookups", "trim_lookups"),
    *("add_day_counts", "day_counts", "trim_day_counts"),
    *(
        "add_tallies",
        "tallies",
        "set_policy",
        "policies",
        "take_lease",
        "write_log",
        "logged",
        "recent",
        "trim_log",
    ),
}


def methods(contract: type[Any]) -> Iterator[str]:
    """Give the names of the methods that a caller may use of an open store."""
    for base in contract.__mro__[:-1]:
        for name, member in vars(base).items():
            if not name.startswith("_") and inspect.isfunction(member):
                yield name


def attributes(contract: type[Any]) -> set[str]:
    """Return the names of what a contract tells beside its methods."""
    told: list[tuple[str, Any]] = [
        item for base in contract.__mro__[:-1] for item in inspect.get_annotations(base).items()
    ]
    return {name for name, kind in told if get_origin(kind) is not ClassVar}


class Recorder:
    """Stands for a store: each method notes its arguments, and returns an object of its own."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.returned = object()

    def __getattr__(self, name: str) -> Callable[..., object]:
        def noted(*args: object, **named: object) -> object:
            self.calls.append((name, (*args, *named.values())))
            return self.returned

        return noted


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_proxy_names_all_of_its_contract(contract: type[Any]) -> None:
    named = set(vars(CONTRACTS[contract]))
    assert set(methods(contract)) - named == set()
    assert attributes(contract) - named == set()


@pytest.mark.parametrize(
    ("contract", "name"), [(contract, name) for contract in CONTRACTS for name in methods(contract)]
)
def test_a_guarded_call_arrives_as_it_was_made(contract: type[Any], name: str) -> None:
    recorder = Recorder()
    guarded = GUARDED[contract](recorder, Guard(StoreError, 5, 1.0, 1.0))
    parameters = inspect.signature(getattr(guarded, name)).parameters
    named = {one.name: object() for one in parameters.values() if one.kind is one.KEYWORD_ONLY}
    arguments = tuple(object() for _ in range(len(parameters) - len(named)))
    returned = getattr(guarded, name)(*arguments, **named)
    assert recorder.calls == [(name, (*arguments, *named.values()))]
    is_void = inspect.get_annotations(getattr(contract, name), eval_str=False)["return"] is None
    assert returned is (None if is_void else recorder.returned)


def test_no_method_slips_past_the_memory_of_answers_unseen() -> None:
    assert set(methods(ScalarStore)) - set(vars(RememberingScalars)) == NOTHING_TO_REMEMBER
