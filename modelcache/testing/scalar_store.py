"""What every scalar store must do; a backend's tests subclass this and provide ``store``."""

import threading
from dataclasses import replace

import pytest

from modelcache.errors import OutdatedError, ScalarStoreError
from modelcache.manager.scalar_data.base import HitUse, ScalarStore
from modelcache.records.names import model_key
from modelcache.records.removal import Unremoved, source_key
from modelcache.testing.observation_store import ObservationStoreContract
from modelcache.testing.removal_store import RemovalStoreContract
from modelcache.testing.rows import EMBEDDING, FAR_FUTURE, NOW, answer, line, put


class ScalarStoreContract(ObservationStoreContract, RemovalStoreContract):
    """A backend's tests subclass this and provide the fixture ``store``."""

    def test_what_was_written_comes_back_unchanged(self, store: ScalarStore) -> None:
        odd = "你是谁? 😀 𠮷 'quoted' \\ \0 % _ -- \r\n ünïcödé"
        [id_] = put(store, answer("q", odd, question=odd, fingerprint="f"))
        found = store.find_exact("f", NOW)
        assert found is not None
        assert (found.id, found.question, found.answer, found.hit_count) == (id_, odd, odd, 0)
        assert store.embeddings([id_])[0].embedding == EMBEDDING

    def test_long_answers_come_back_whole(self, store: ScalarStore) -> None:
        text = "长" * 300_000
        [id_] = put(store, answer("q", text))
        assert store.get_live([id_], NOW)[id_].answer == text

    def test_nothing_answers_before_it_is_activated(self, store: ScalarStore) -> None:
        ids = store.add([answer("q")])
        assert store.find_exact("m/q", NOW) is None
        assert store.get_live(ids, NOW) == {}
        assert store.models() == []

    def test_ids_come_in_order_and_are_never_used_twice(self, store: ScalarStore) -> None:
        first = put(store, answer("a"), answer("b"), answer("c"))
        assert first == sorted(set(first))
        store.delete(model_key("m"), first)
        store.purge(first)
        assert min(put(store, answer("d"))) > max(first)

    def test_a_new_answer_replaces_the_old_one(self, store: ScalarStore) -> None:
        [old] = put(store, answer("q", "old"))
        [new] = put(store, answer("q", "new"))
        found = store.find_exact("m/q", NOW)
        assert found is not None
        assert (found.id, found.answer) == (new, "new")
        assert list(store.get_live([old, new], NOW)) == [new]

    def test_the_last_of_equal_questions_in_one_batch_wins(self, store: ScalarStore) -> None:
        ids = put(store, answer("q", "first"), answer("other"), answer("q", "last"))
        found = store.find_exact("m/q", NOW)
        assert found is not None
        assert found.answer == "last"
        assert set(store.get_live(ids, NOW)) == {ids[1], ids[2]}

    def test_a_batch_is_activated_wholly_or_not_at_all(self, store: ScalarStore) -> None:
        ids = store.add([answer("a"), answer("b")])
        store.discard(ids[:1])
        with pytest.raises(ScalarStoreError):
            store.activate(ids, ["m/a", "m/b"])
        assert store.get_live(ids, NOW) == {}

    def test_a_failed_activation_leaves_the_old_answer(self, store: ScalarStore) -> None:
        [old] = put(store, answer("q", "old"))
        ids = store.add([answer("q", "new")])
        store.discard(ids)
        with pytest.raises(ScalarStoreError):
            store.activate(ids, ["m/q"])
        found = store.find_exact("m/q", NOW)
        assert found is not None
        assert found.id == old

    def test_activating_again_changes_nothing(self, store: ScalarStore) -> None:
        new = [answer("a", "first"), answer("a", "last"), answer("b")]
        ids = put(store, *new)
        store.activate(ids, [row.fingerprint for row in new])
        assert set(store.get_live(ids, NOW)) == set(ids[1:])

    def test_activating_again_after_a_replacement_is_refused(self, store: ScalarStore) -> None:
        [old] = put(store, answer("q", "old"))
        [new] = put(store, answer("q", "new"))
        with pytest.raises(ScalarStoreError):
            store.activate([old], ["m/q"])
        assert set(store.get_live([old, new], NOW)) == {new}

    def test_discarding_spares_what_is_live(self, store: ScalarStore) -> None:
        ids = put(store, answer("q"))
        store.discard(ids)
        assert store.discard_unfinished(FAR_FUTURE) == 0
        assert set(store.get_live(ids, NOW)) == set(ids)

    def test_unfinished_rows_are_discarded_together(self, store: ScalarStore) -> None:
        put(store, answer("live"))
        ids = store.add([answer("a"), answer("b")])
        assert store.discard_unfinished(NOW) == 0, "these may be on their way in another process"
        assert store.discard_unfinished(FAR_FUTURE) == 2
        assert {row.id for row in store.dead(model_key("m"), 10)} == set(ids)

    def test_the_log_tells_what_a_model_was_asked(self, store: ScalarStore) -> None:
        store.write_log([line("m", query="one"), line("n", query="other"), line("m", query="two")])
        assert store.logged(model_key("m"), 10) == ["two", "one"]
        assert store.logged(model_key("m"), 1) == ["two"]
        assert store.logged(model_key("absent"), 10) == []

    def test_the_log_tells_which_queries_hit_and_which_nearly_did(self, store: ScalarStore) -> None:
        hit = replace(line("m", query="hit"), entry_id=7, confidence=1.0)
        near = replace(hit, query="near", cache_hit=False, error_desc="veto: numbers", confidence=0.75)
        far = replace(hit, query="far", cache_hit=False, entry_id=None, confidence=None)
        store.write_log([hit, near, far, replace(hit, query="other", model="n", model_key=model_key("n"))])
        assert store.recent(model_key("m"), 10, hits=True) == [hit]
        assert store.recent(model_key("m"), 10, hits=False) == [near]
        assert [one.query for one in store.recent(None, 10, hits=True)] == ["other", "hit"]
        assert [one.query for one in store.recent(None, 1, hits=True)] == ["other"]
        assert store.recent(model_key("absent"), 10, hits=True) == []

    def test_an_expired_row_never_answers(self, store: ScalarStore) -> None:
        [id_] = put(store, answer("q", expires_at=NOW + 10))
        assert store.find_exact("m/q", NOW + 9) is not None
        assert store.find_exact("m/q", NOW + 10) is None
        assert store.get_live([id_], NOW + 10) == {}

    def test_expired_rows_are_deleted(self, store: ScalarStore) -> None:
        put(store, answer("a", expires_at=NOW), answer("b", expires_at=NOW + 1), answer("c"))
        assert store.delete_expired(NOW) == 1
        assert store.delete_expired(NOW) == 0
        assert store.count(model_key("m")) == 2

    def test_deleting_counts_only_live_rows_of_the_model(self, store: ScalarStore) -> None:
        mine = put(store, answer("a"), answer("b"))
        theirs = put(store, answer("a", model="n"))
        absent = [0, -1, 10**6, 10**30, -(10**30)]
        assert store.delete(model_key("m"), [mine[0], mine[0], *theirs, *absent]) == 1
        assert store.delete(model_key("m"), mine[:1]) == 0
        assert set(store.get_live([*mine, *theirs], NOW)) == {mine[1], *theirs}

    def test_many_ids_are_handled_at_once(self, store: ScalarStore) -> None:
        ids = put(store, *(answer(f"q{number}") for number in range(1200)))
        assert len(store.get_live(ids, NOW)) == 1200
        assert len(store.embeddings(ids)) == 1200
        assert store.delete(model_key("m"), ids) == 1200

    def test_metadata_comes_back(self, store: ScalarStore) -> None:
        told = '{"名": ["\\u0000", 1.5]}' + " " * 70_000
        ids = put(store, answer("a", metadata=told), answer("b"))
        found = store.get_live(ids, NOW)
        assert [found[id_].metadata for id_ in ids] == [told, None]
        exact = store.find_exact(answer("a").fingerprint, NOW)
        assert exact is not None
        assert exact.metadata == told

    def test_deleting_by_scope(self, store: ScalarStore) -> None:
        anne = {"user": "Anne", "at": {"b": [1], "a": None}}
        ids = put(
            store,
            answer("a", scope=anne),
            answer("b", scope=anne | {"version": 2}, tags=("user",)),
            answer("c", scope={"user": "anne", "at": anne["at"]}),
            answer("d", scope={"at": anne["at"]}),
            answer("e"),
            answer("f", model="n", scope=anne),
        )
        mine = model_key("m")
        assert store.delete_scoped(mine, {"user": "nobody"}) == 0
        assert store.delete_scoped(mine, {"user": "Anne", "version": 1}) == 0
        assert store.delete_scoped(mine, anne) == 2
        assert store.delete_scoped(mine, anne) == 0
        assert sorted(store.get_live(ids, NOW)) == ids[2:]
        assert store.delete_tagged(mine, ["user", "Anne", ""]) == 0

    def test_entries_are_read_page_by_page(self, store: ScalarStore) -> None:
        told = answer(
            "a",
            metadata="{}",
            tags=("red", "blue"),
            scope={"user": "anne"},
            expires_at=FAR_FUTURE,
            envelope="whole",
        )
        ids = put(store, told, answer("b"), answer("c", expires_at=NOW - 1), answer("d", embedding=None))
        put(store, answer("a", model="n"))
        mine = model_key("m")
        first, second = store.entries(mine, 0, 2, NOW)
        assert [one.id for one in store.entries(mine, second.id, 10, NOW)] == [ids[3]]
        assert store.entries(mine, ids[3], 10, NOW) == []
        assert (first.model, first.question, first.answer) == ("m", "a", told.answer)
        assert (first.partition, first.fingerprint) == (told.partition, told.fingerprint)
        assert (first.embedder, first.embedding, first.metadata) == ("hash-v1", EMBEDDING, "{}")
        assert (first.expires_at, first.hit_count, first.envelope) == (FAR_FUTURE, 0, "whole")
        assert (set(first.tags), len(first.scope_keys)) == ({"red", "blue"}, 1)
        store.delete(mine, [ids[0]])
        put(store, answer("a", scope_keys=first.scope_keys))
        assert store.delete_scoped(mine, {"user": "anne"}) == 1

    def test_deleting_by_tag(self, store: ScalarStore) -> None:
        ids = put(
            store,
            answer("a", tags=("red", "big")),
            answer("b", tags=("Red",)),
            answer("c", tags=("red ", "red ")),
            answer("d"),
        )
        theirs = put(store, answer("a", model="n", tags=("red",)))
        assert store.delete_tagged(model_key("m"), ["red", "big", "red"]) == 1
        assert set(store.get_live([*ids, *theirs], NOW)) == {*ids[1:], *theirs}
        assert store.delete_tagged(model_key("m"), []) == 0

    def test_truncating_empties_one_model_and_its_log(self, store: ScalarStore) -> None:
        mine = put(store, answer("a"), answer("b"))
        theirs = put(store, answer("a", model="n"))
        writing = store.add([answer("c")])
        store.write_log([line("m"), line("n")])
        assert store.truncate(model_key("m")) == 2
        assert store.truncate(model_key("m")) == 0
        assert set(store.get_live([*mine, *theirs], NOW)) == set(theirs)
        assert store.trim_log(NOW + 1) == 1
        with pytest.raises(ScalarStoreError):
            store.activate(writing, ["m/c"])

    def test_dead_rows_are_listed_until_purged(self, store: ScalarStore) -> None:
        ids = put(store, answer("a", tags=("t",)), answer("b"), answer("c"))
        store.delete(model_key("m"), ids[:2])
        assert [(row.id, row.model, row.embedder) for row in store.dead(model_key("m"), 1)] == [
            (ids[0], "m", "hash-v1")
        ]
        store.purge(ids)
        assert store.dead(model_key("m"), 10) == []
        assert set(store.get_live(ids, NOW)) == {ids[2]}

    def test_dead_rows_are_counted_by_model(self, store: ScalarStore) -> None:
        mine = put(store, answer("a"), answer("b"), answer("c"))
        theirs = put(store, answer("a", model="n"))
        put(store, answer("a", model="alive"))
        store.delete(model_key("m"), mine[:2])
        store.delete(model_key("n"), theirs)
        counted = {(dead.model, dead.model_key, dead.count) for dead in store.dead_counts()}
        assert counted == {("m", model_key("m"), 2), ("n", model_key("n"), 1)}

    def test_uses_come_in_the_order_of_the_last_one(self, store: ScalarStore) -> None:
        first, second, third = put(store, answer("a"), answer("b"), answer("c"))
        put(store, answer("a", model="n"))
        store.record_hits({second: HitUse(1, FAR_FUTURE), first: HitUse(4, FAR_FUTURE + 1)})
        found = [(use.id, use.fingerprint, use.hit_count) for use in store.uses(model_key("m"))]
        assert found == [(third, "m/c", 0), (second, "m/b", 1), (first, "m/a", 4)]

    def test_models_and_counts(self, store: ScalarStore) -> None:
        put(store, answer("a", model="gpt-4"), answer("b", model="gpt-4"), answer("a", model="GPT-4 "))
        assert sorted(store.models()) == ["GPT-4 ", "gpt-4"]
        assert store.count(model_key("gpt-4")) == 2
        assert store.count(model_key("none")) == 0

    def test_only_vectors_of_the_embedder_are_listed(self, store: ScalarStore) -> None:
        ids = put(store, answer("a"), answer("b", embedder="other"), answer("c", embedder="", embedding=None))
        assert store.embedded_ids(model_key("m"), "hash-v1") == ids[:1]
        assert {row.id for row in store.embeddings(ids)} == set(ids[:2])

    def test_vectors_are_listed_until_their_rows_are_deleted(self, store: ScalarStore) -> None:
        writing, live, deleted = store.add([answer("a"), answer("b"), answer("c")])
        store.activate([live, deleted], ["m/b", "m/c"])
        store.delete(model_key("m"), [deleted])
        assert sorted(store.embedded_ids(model_key("m"), "hash-v1")) == [writing, live]
        assert {row.id for row in store.embeddings([writing, live, deleted])} == {writing, live}

    def test_a_released_lease_may_be_taken_at_once(self, store: ScalarStore) -> None:
        assert store.take_lease("flight", "a", NOW, 10)
        store.release_lease("flight", "b")
        assert not store.take_lease("flight", "b", NOW, 10)
        store.release_lease("flight", "a")
        assert store.take_lease("flight", "b", NOW, 10)

    def test_leases_that_are_over_are_forgotten(self, store: ScalarStore) -> None:
        store.take_lease("over", "a", NOW, 10)
        store.take_lease("held", "a", NOW, 20)
        assert store.trim_leases(NOW + 15) == 1
        assert not store.take_lease("held", "b", NOW + 15, 10)

    def test_an_envelope_is_kept_until_its_row_is_purged(self, store: ScalarStore) -> None:
        bare, wrapped = put(store, answer("a"), answer("b", envelope='{"é": "答"}'))
        assert (store.envelope(bare), store.envelope(wrapped)) == ("", '{"é": "答"}')
        store.delete(model_key("m"), [wrapped])
        store.purge([wrapped])
        assert store.envelope(wrapped) == ""

    def test_hits_add_up(self, store: ScalarStore) -> None:
        [id_] = put(store, answer("q"))
        store.record_hits({id_: HitUse(2, NOW), 10**6: HitUse(1, NOW)})
        store.record_hits({id_: HitUse(1, NOW + 1)})
        assert store.get_live([id_], NOW)[id_].hit_count == 3

    def test_a_use_that_is_recorded_late_does_not_hide_a_later_one(self, store: ScalarStore) -> None:
        first, second = put(store, answer("a"), answer("b"))
        store.record_hits({first: HitUse(1, FAR_FUTURE + 2), second: HitUse(1, FAR_FUTURE + 1)})
        store.record_hits({first: HitUse(1, FAR_FUTURE)})
        assert [use.id for use in store.uses(model_key("m"))] == [second, first]

    def test_old_log_lines_are_trimmed(self, store: ScalarStore) -> None:
        store.write_log([line(at=NOW - 100), line(at=NOW)])
        assert store.trim_log(NOW - 50) == 1
        assert store.trim_log(NOW + 50) == 1

    def test_many_threads_write_at_once(self, store: ScalarStore) -> None:
        def write(worker: int) -> None:
            for number in range(10):
                put(store, answer(f"{worker}-{number}"), answer("shared"))

        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.count(model_key("m")) == 81
        assert len(store.dead(model_key("m"), 1000)) == 79

    def test_a_closed_store_says_so(self, store: ScalarStore) -> None:
        store.ping()
        store.close()
        store.close()
        with pytest.raises(ScalarStoreError):
            store.ping()


class ExclusiveScalarStoreContract(ScalarStoreContract):
    """What a store must do besides that one process may have for itself."""

    def test_an_insert_at_once_is_live_when_it_returns(self, store: ScalarStore) -> None:
        [old] = put(store, answer("a", "old"))
        indexed: list[int] = []
        ids = store.insert_live(
            [answer("a", "first"), answer("b", tags=("t",)), answer("a", "second")], indexed.extend
        )
        assert indexed == ids
        assert ids == sorted(ids)
        assert set(store.get_live([old, *ids], NOW)) == set(ids[1:])
        found = store.find_exact(answer("a").fingerprint, NOW)
        assert found is not None
        assert found.answer == "second"
        assert store.delete_tagged(model_key("m"), ["t"]) == 1

    def test_an_insert_at_once_of_what_was_removed_changes_nothing(self, store: ScalarStore) -> None:
        [old] = put(store, answer("a", "old"))
        new = answer("a", "new", sources=("doc",))
        store.note_removal([source_key(new.model_key, "doc")])
        with pytest.raises(OutdatedError):
            store.insert_live([new], lambda ids: None, Unremoved.of([new], NOW))
        assert set(store.get_live([old], NOW)) == {old}
        assert store.insert_live([new], lambda ids: None, Unremoved.of([new], FAR_FUTURE))

    def test_an_insert_at_once_that_cannot_be_indexed_changes_nothing(self, store: ScalarStore) -> None:
        [old] = put(store, answer("a", "old"))
        begun: list[int] = []

        def fail(ids: list[int]) -> None:
            begun.extend(ids)
            raise ValueError("no room")

        with pytest.raises(ValueError, match="no room"):
            store.insert_live([answer("a", "new"), answer("b")], fail)
        assert set(store.get_live([old, *begun], NOW)) == {old}
        assert store.embedded_ids(model_key("m"), "hash-v1") == [old]
        ids = store.insert_live([answer("b")], lambda ids: None)
        assert not set(ids) & {old, *begun}
