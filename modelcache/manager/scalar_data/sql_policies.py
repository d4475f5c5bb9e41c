"""What is set for each model, and who does what one process can do for all."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from modelcache.manager.scalar_data.base import PolicyStore, Probe
from modelcache.manager.scalar_data.sql import Cursor, SqlDatabase, repeated
from modelcache.records.observation import ModelPolicy


class SqlPolicies(SqlDatabase, PolicyStore):
    """A dialect adds how a lease is inserted."""

    @abstractmethod
    def insert_lease(self, cursor: Cursor, row: Sequence[Any]) -> None:
        """Insert (name, holder, expires_at) unless the name is there, which leaves rowcount at 0."""

    @repeated
    def take_lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        with self.writing() as cursor:
            cursor.execute(
                "UPDATE modelcache_lease SET holder = ?, expires_at = ? "
                "WHERE name = ? AND (holder = ? OR expires_at <= ?)",
                (holder, now + seconds, name, holder, now),
            )
            if cursor.rowcount:
                return True
            cursor.execute("SELECT COUNT(*) FROM modelcache_lease WHERE name = ?", (name,))
            if cursor.fetchone()[0]:
                return False
            self.insert_lease(cursor, (name, holder, now + seconds))
            return bool(cursor.rowcount)

    @repeated
    def probe(self, embedder: str) -> Probe | None:
        with self.reading() as cursor:
            cursor.execute(
                "SELECT generation, embedding_data FROM modelcache_probe WHERE embedder = ?", (embedder,)
            )
            row = cursor.fetchone()
        return None if row is None else Probe(embedder, *row)

    @repeated
    def keep_probe(self, probe: Probe) -> None:
        with self.writing() as cursor:
            cursor.execute(
                "REPLACE INTO modelcache_probe (embedder, generation, embedding_data) VALUES (?, ?, ?)",
                (probe.embedder, probe.generation, probe.embedding),
            )

    @repeated
    def release_lease(self, name: str, holder: str) -> None:
        with self.writing() as cursor:
            cursor.execute("DELETE FROM modelcache_lease WHERE name = ? AND holder = ?", (name, holder))

    @repeated
    def trim_leases(self, before: float) -> int:
        with self.writing() as cursor:
            cursor.execute("DELETE FROM modelcache_lease WHERE expires_at < ?", (before,))
            return int(cursor.rowcount)

    @repeated
    def set_policy(self, policy: ModelPolicy) -> None:
        with self.writing() as cursor:
            cursor.execute(
                "REPLACE INTO modelcache_policy (model_key, model, mode, error_rate) VALUES (?, ?, ?, ?)",
                (policy.model_key, policy.model, policy.mode, policy.error_rate),
            )
            cursor.execute(
                "REPLACE INTO modelcache_model_limit (model_key, ttl, max_size) VALUES (?, ?, ?)",
                (policy.model_key, policy.ttl, policy.max_size),
            )

    @repeated
    def policies(self) -> list[ModelPolicy]:
        with self.reading() as cursor:
            cursor.execute(
                "SELECT modelcache_policy.model_key, model, mode, error_rate, ttl, max_size "
                "FROM modelcache_policy LEFT JOIN modelcache_model_limit "
                "ON modelcache_model_limit.model_key = modelcache_policy.model_key"
            )
            return [ModelPolicy(*row) for row in cursor.fetchall()]
