"""What every scalar store must do with what was observed of entries, and with what is set for models."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from modelcache.manager.scalar_data.base import Probe, ScalarStore
from modelcache.records.day_count import DayCount
from modelcache.records.names import model_key
from modelcache.records.observation import ModelPolicy, Tally
from modelcache.testing.rows import EMBEDDING, NOW, answer, lookup, put, seen


class ObservationStoreContract:
    """A part of ``ScalarStoreContract``."""

    @pytest.fixture
    def store(self) -> Iterator[ScalarStore]:
        """Provide an open, empty store."""
        raise NotImplementedError

    def test_a_lease_has_one_holder_at_a_time(self, store: ScalarStore) -> None:
        assert store.take_lease("sweep", "a", NOW, 10)
        assert not store.take_lease("sweep", "b", NOW + 9, 10)
        assert store.take_lease("sweep", "a", NOW + 9, 10)
        assert store.take_lease("other", "b", NOW, 10)
        assert not store.take_lease("sweep", "b", NOW + 18, 10)
        assert store.take_lease("sweep", "b", NOW + 19, 10)
        assert not store.take_lease("sweep", "a", NOW + 20, 10)

    def test_of_many_who_want_a_lease_one_gets_it(self, store: ScalarStore) -> None:
        taken: list[int] = []

        def take(worker: int) -> None:
            if store.take_lease("sweep", f"worker {worker}", NOW, 10):
                taken.append(worker)

        threads = [threading.Thread(target=take, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == 1, taken

    def test_observations_come_back_unchanged_and_in_order(self, store: ScalarStore) -> None:
        [id_, other] = put(store, answer("a"), answer("b"))
        late = seen(id_, "x", told=True, correct=False, embedder="hash-v1", embedding=EMBEDDING, at=NOW + 1)
        early = seen(id_, "y", score=0.123456789)
        store.observe([late, early])
        assert store.observations([id_, other, 10**6]) == {id_: [early, late]}

    def test_a_row_tells_whether_anything_was_observed(self, store: ScalarStore) -> None:
        [id_, other] = put(store, answer("a"), answer("b"))
        store.observe([seen(id_)])
        live = store.get_live([id_, other], NOW)
        assert (live[id_].observed, live[other].observed) == (1, 0)
        found = [store.find_exact(answer(asked).fingerprint, NOW) for asked in ("a", "b")]
        assert [entry.observed for entry in found if entry] == [1, 0]

    def test_a_later_observation_of_the_same_takes_the_place(self, store: ScalarStore) -> None:
        [id_] = put(store, answer("a"))
        told, compared = seen(id_, told=True, correct=False), seen(id_, at=NOW + 1)
        store.observe([told, compared])
        again = replace(told, correct=True, at=NOW + 2)
        store.observe([again])
        assert store.observations([id_]) == {id_: [compared, again]}

    def test_nothing_is_observed_of_what_is_gone(self, store: ScalarStore) -> None:
        store.observe([seen(10**6)])
        assert store.observations([10**6]) == {}

    def test_observations_go_when_their_row_is_purged(self, store: ScalarStore) -> None:
        ids = put(store, answer("a"), answer("b"))
        store.observe([seen(id_) for id_ in ids])
        store.delete(model_key("m"), ids[:1])
        assert set(store.observations(ids)) == set(ids)
        store.purge(ids)
        assert set(store.observations(ids)) == set(ids[1:])

    def test_a_models_observations_are_the_newest(self, store: ScalarStore) -> None:
        mine = put(store, answer("a"), answer("b"), answer("c"))
        [theirs] = put(store, answer("a", model="n"))
        store.observe([seen(theirs, model="n"), *(seen(id_, at=NOW + id_) for id_ in mine)])
        found = store.model_observations(model_key("m"), 2)
        assert [one.answer_id for one in found] == mine[:0:-1]

    def test_an_answer_can_be_read_until_it_is_purged(self, store: ScalarStore) -> None:
        [id_] = put(store, answer("a", "old"))
        store.delete(model_key("m"), [id_])
        assert store.answers([id_, 10**6])[id_].answer == "old"
        store.purge([id_])
        assert store.answers([id_]) == {}

    def test_a_lookup_is_taken_once(self, store: ScalarStore) -> None:
        store.keep_lookups([lookup("a", 1), lookup("b"), lookup("a", 2)])
        store.keep_lookups([lookup("b", 3)])
        assert store.take_lookups(["a", "b", "c", "a"], NOW) == [lookup("a", 2), lookup("b", 3)]
        assert store.take_lookups(["a", "b"], NOW) == []

    def test_a_lookup_is_kept_for_some_time(self, store: ScalarStore) -> None:
        store.keep_lookups([lookup("a"), lookup("b"), lookup("c", at=NOW + 2)])
        assert store.take_lookups(["a"], NOW + 1) == []
        assert store.trim_lookups(NOW + 1) == 1
        assert len(store.take_lookups(["b", "c"], 0)) == 1

    def test_a_policy_is_replaced(self, store: ScalarStore) -> None:
        odd = ModelPolicy(model_key("模型"), "模型", "verified", 0.01)
        store.set_policy(ModelPolicy(model_key("m"), "m", "shadow"))
        store.set_policy(odd)
        store.set_policy(ModelPolicy(model_key("m"), "m", None, 0.05))
        policies = {policy.model: policy for policy in store.policies()}
        assert policies == {"模型": odd, "m": ModelPolicy(model_key("m"), "m", None, 0.05)}

    def test_limits_of_a_model_are_kept(self, store: ScalarStore) -> None:
        limited = ModelPolicy(model_key("m"), "m", None, None, 0.5, 2**40)
        store.set_policy(limited)
        assert store.policies() == [limited]
        store.set_policy(ModelPolicy(model_key("m"), "m", "off", None, 0.0, 0))
        assert store.policies() == [ModelPolicy(model_key("m"), "m", "off", None, 0.0, 0)]

    def test_a_probe_is_replaced(self, store: ScalarStore) -> None:
        assert store.probe("e") is None
        store.keep_probe(Probe("e", 0, EMBEDDING))
        store.keep_probe(Probe("other", 5, EMBEDDING))
        store.keep_probe(Probe("e", 1, EMBEDDING * 2))
        assert store.probe("e") == Probe("e", 1, EMBEDDING * 2)

    def test_tallies_add_up(self, store: ScalarStore) -> None:
        mine = model_key("m")
        store.add_tallies([Tally(mine, "asked", 970, 1), Tally(mine, "asked", 970, 2)])
        store.add_tallies([Tally(mine, "asked", 970, 4), Tally(mine, "right", 970, 1)])
        store.add_tallies([Tally(model_key("n"), "asked", 970, 1)])
        found = {(one.outcome, one.bucket, one.count) for one in store.tallies(mine)}
        assert found == {("asked", 970, 7), ("right", 970, 1)}

    def test_counts_of_a_day_add_up(self, store: ScalarStore) -> None:
        mine, other = model_key("m"), model_key("n")
        store.add_day_counts([DayCount(5, mine, "m", "hit.exact", 1), DayCount(5, mine, "m", "usd", 0.25)])
        store.add_day_counts([DayCount(5, mine, "m", "hit.exact", 2), DayCount(6, mine, "m", "miss", 1)])
        store.add_day_counts([DayCount(5, other, "n", "hit.exact", 1), DayCount(4, mine, "m", "miss", 9)])
        assert sorted(store.day_counts(5, 6, mine)) == [
            DayCount(5, mine, "m", "hit.exact", 3),
            DayCount(5, mine, "m", "usd", 0.25),
            DayCount(6, mine, "m", "miss", 1),
        ]
        assert len(store.day_counts(4, 6)) == 5
        store.truncate(mine)
        assert len(store.day_counts(5, 5)) == 3
        assert store.trim_day_counts(5) == 1
        assert store.day_counts(0, 4) == []

    def test_truncating_forgets_what_was_observed_of_one_model(self, store: ScalarStore) -> None:
        for model in ("m", "n"):
            [id_] = put(store, answer("a", model=model))
            store.observe([seen(id_, model=model)])
            store.keep_lookups([lookup(f"asked {model}", id_, model)])
            store.add_tallies([Tally(model_key(model), "asked", 1, 1)])
            store.set_policy(ModelPolicy(model_key(model), model, "shadow"))
        store.truncate(model_key("m"))
        for model, left in (("m", 0), ("n", 1)):
            assert len(store.model_observations(model_key(model), 10)) == left
            assert len(store.take_lookups([f"asked {model}"], 0)) == left
            assert len(store.tallies(model_key(model))) == left
        assert len(store.policies()) == 2
