"""What every scalar store must do when entries are removed, and when they are listed."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from time import time

import pytest

from modelcache.errors import OutdatedError
from modelcache.manager.scalar_data.base import HitUse, ScalarStore
from modelcache.records.entry import EntrySearch, StoredEntry
from modelcache.records.names import model_key
from modelcache.records.removal import Unremoved, of_model_key, scope_key, source_key, tag_key
from modelcache.testing.rows import FAR_FUTURE, NOW, answer, put

MINE = model_key("m")


class RemovalStoreContract:
    """A part of ``ScalarStoreContract``."""

    @pytest.fixture
    def store(self) -> Iterator[ScalarStore]:
        """Provide an open, empty store."""
        raise NotImplementedError

    def test_deleting_by_source(self, store: ScalarStore) -> None:
        ids = put(
            store,
            answer("a", sources=("doc-17@v3", "doc-18@v1", "doc-17@v3")),
            answer("b", sources=("doc-17@v4",)),
            answer("c", tags=("doc-17@v3",)),
        )
        theirs = put(store, answer("a", model="n", sources=("doc-17@v3",)))
        gone = ["doc-17@v3", "doc-18@v1"]
        assert store.delete_sourced(MINE, gone, dry_run=True) == 1
        assert store.delete_sourced(MINE, gone) == 1
        assert store.delete_sourced(MINE, gone) == 0
        assert set(store.get_live([*ids, *theirs], NOW)) == {*ids[1:], *theirs}
        store.purge(ids)
        assert store.delete_sourced(MINE, []) == 0

    def test_deleting_by_age(self, store: ScalarStore) -> None:
        ids = put(store, answer("a", created_at=NOW - 10), answer("b", created_at=NOW), answer("c"))
        theirs = put(store, answer("a", model="n", created_at=NOW - 10))
        assert store.delete_older(MINE, NOW, dry_run=True) == 1
        assert store.delete_older(MINE, NOW) == 1
        assert store.delete_older(MINE, NOW) == 0
        assert set(store.get_live([*ids, *theirs], NOW)) == {*ids[1:], *theirs}

    def test_a_dry_run_counts_and_changes_nothing(self, store: ScalarStore) -> None:
        ids = put(store, answer("a", tags=("t",), scope={"user": "anne"}), answer("b", tags=("t", "u")))
        store.delete(MINE, ids[1:])
        assert store.delete_tagged(MINE, ["t", "u"], dry_run=True) == 1
        assert store.delete_scoped(MINE, {"user": "anne"}, dry_run=True) == 1
        assert set(store.get_live(ids, NOW)) == set(ids[:1])

    @pytest.mark.parametrize(
        "key",
        [
            of_model_key(MINE),
            tag_key(MINE, "t"),
            source_key(MINE, "doc"),
            scope_key(MINE, "user", "anne"),
        ],
        ids=["model", "tag", "source", "scope"],
    )
    def test_what_was_looked_up_before_a_removal_is_held_back(self, store: ScalarStore, key: str) -> None:
        new = answer("a", tags=("t",), sources=("doc",), scope={"user": "anne"})
        store.note_removal([key])
        removed_at = time()
        ids = store.add([new])
        with pytest.raises(OutdatedError):
            store.activate(ids, [new.fingerprint], Unremoved.of([new], removed_at - 60))
        assert store.get_live(ids, NOW) == {}
        store.activate(ids, [new.fingerprint], Unremoved.of([new], removed_at + 60))
        assert set(store.get_live(ids, NOW)) == set(ids)
        other = answer("a", model="n", tags=("t",), sources=("doc",), scope={"user": "anne"})
        more = store.add([other])
        store.activate(more, [other.fingerprint], Unremoved.of([other], 0))
        assert store.trim_removals(removed_at - 60) == 0
        assert store.trim_removals(removed_at + 60) == 1
        put(store, new)

    def test_nothing_that_was_begun_before_survives_a_removal(self, store: ScalarStore) -> None:
        is_over = threading.Event()
        begun: dict[int, float] = {}

        def write(worker: int) -> None:
            number = 0
            while not is_over.is_set():
                new = answer(f"{worker}-{number}", sources=("doc",))
                since = time()
                [id_] = store.add([new])
                begun[id_] = since
                try:
                    store.activate([id_], [new.fingerprint], Unremoved.of([new], since))
                except OutdatedError:
                    store.discard([id_])
                number += 1

        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(10):
                while len(begun) < 8:
                    pass
                asked = time()
                store.note_removal([source_key(MINE, "doc")])
                store.delete_sourced(MINE, ["doc"])
                left = store.get_live(sorted(begun), NOW)
                assert all(begun[id_] >= asked for id_ in left)
                begun.clear()
        finally:
            is_over.set()
            for thread in threads:
                thread.join()

    def test_entries_tell_what_they_were_made_from_and_when(self, store: ScalarStore) -> None:
        [id_, dead, expired] = put(
            store,
            answer("a", sources=("doc", "另一"), scope={"user": "anne", "b": [1]}, created_at=NOW),
            answer("b"),
            answer("c", expires_at=NOW),
        )
        store.delete(MINE, [dead])
        entry = store.entry(id_, NOW)
        assert entry is not None
        assert (set(entry.sources), entry.created_at) == ({"doc", "另一"}, NOW)
        assert entry.scope == '{"user": "anne", "b": [1]}'
        assert len(entry.scope_keys) == 2
        absent = (dead, expired, 0, -1, 10**30)
        assert [store.entry(one, NOW) for one in absent] == [None] * len(absent)

    def test_entries_are_listed_the_newest_first(self, store: ScalarStore) -> None:
        ids = put(store, *(answer(f"q{number}") for number in range(7)))
        theirs = put(store, answer("a", model="n"))
        put(store, answer("gone", expires_at=NOW))
        store.delete(MINE, ids[3:4])
        mine = EntrySearch(MINE, limit=2)
        assert listed(store, mine) == [[ids[6], ids[5]], [ids[4], ids[2]], [ids[1], ids[0]]]
        assert flat(listed(store, EntrySearch(limit=4))) == [*theirs, *reversed(ids[:3] + ids[4:])]

    def test_entries_are_listed_by_their_hits(self, store: ScalarStore) -> None:
        ids = put(store, *(answer(f"q{number}") for number in range(6)))
        store.record_hits({ids[1]: HitUse(5, NOW), ids[2]: HitUse(2, NOW), ids[4]: HitUse(2, NOW)})
        pages = listed(store, EntrySearch(MINE, by_hits=True, limit=2))
        assert pages == [[ids[1], ids[4]], [ids[2], ids[5]], [ids[3], ids[0]]]

    def test_entries_are_searched(self, store: ScalarStore) -> None:
        ids = put(
            store,
            answer("What is GitHub?", "100% a_b", tags=("red", "big"), scope={"user": "anne", "n": 1}),
            answer("你是谁?", "GITHUB", tags=("red",), sources=("doc",), scope={"user": "anne"}),
            answer("else", "100 a.b", tags=("big",)),
        )
        put(store, answer("github", model="n", tags=("red",)))

        def found(by_hits: bool = False, **sought: object) -> list[int]:
            search = EntrySearch(MINE, by_hits=by_hits, **sought)  # type: ignore[arg-type]
            return flat(listed(store, search))

        for by_hits in (False, True):
            assert found(by_hits, text="github") == ids[1::-1]
            assert found(by_hits, text="是谁") == ids[1:2]
            assert found(by_hits, text="100%") == found(by_hits, text="a_b") == ids[:1]
            assert found(by_hits, text="absent") == []
            assert found(by_hits, tags=("red",)) == ids[1::-1]
            assert found(by_hits, tags=("red", "big")) == ids[:1]
            assert found(by_hits, sources=("doc",)) == ids[1:2]
            assert found(by_hits, scope={"user": "anne"}) == ids[1::-1]
            assert found(by_hits, scope={"user": "anne", "n": 1}) == ids[:1]
            assert found(by_hits, text="github", tags=("big",)) == ids[:1]

    def test_a_page_reads_no_more_than_some_rows(self, store: ScalarStore) -> None:
        ids = put(store, answer("needle"), *(answer(f"q{number}") for number in range(5200)))
        first = store.find_entries(EntrySearch(MINE, text="needle"), NOW)
        assert first.entries == ()
        assert first.next is not None
        second = store.find_entries(EntrySearch(MINE, text="needle", after=first.next), NOW)
        assert [entry.id for entry in second.entries] == ids[:1]
        assert second.next is None


def flat(pages: list[list[int]]) -> list[int]:
    return [id_ for page in pages for id_ in page]


def listed(store: ScalarStore, search: EntrySearch) -> list[list[int]]:
    """Return the ids of all pages that are not empty."""
    pages: list[list[StoredEntry]] = []
    after = search.after
    while True:
        page = store.find_entries(replace(search, after=after), FAR_FUTURE)
        pages.append(list(page.entries))
        if page.next is None:
            return [[entry.id for entry in entries] for entries in pages if entries]
        after = page.next
