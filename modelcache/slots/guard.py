"""Tell two questions apart that differ in a slot."""

from functools import lru_cache

from modelcache.settings import Settings
from modelcache.slots.comparing import differences
from modelcache.slots.reading import Reader
from modelcache.slots.record import Slots
from modelcache.slots.tables import Tables, load_tables

# Short texts are remembered with their slots: popular entries are compared again and again.
REMEMBERED_TEXTS = 2048
REMEMBERED_CHARS = 256


class SlotGuard:
    """Tells by which rule two questions differ; safe to call from many threads."""

    def __init__(self, tables: Tables | None) -> None:
        """Without tables nothing is refused."""
        self._tables = tables
        self._reader = Reader(tables or Tables())
        self._remembering = lru_cache(REMEMBERED_TEXTS)(self._reader.read)

    @classmethod
    def from_settings(cls, settings: Settings) -> "SlotGuard":
        """Read the tables; ConfigError says in one sentence what is wrong with them."""
        return cls(load_tables(settings.slot_tables) if settings.slot_guard else None)

    def compare(self, asked: str, cached: str) -> str:
        """Return the rule by which two texts differ, "" if none does."""
        return next(iter(self.differences(asked, cached)), "")

    def differences(self, asked: str, cached: str) -> list[str]:
        """Return the rules by which two texts differ, the plainest first; those turned off are left out."""
        if self._tables is None or asked == cached:
            return []
        off = self._tables.off
        found = differences(self.read(asked), self.read(cached), self._tables)
        return [rule for rule in dict.fromkeys(found) if rule not in off]

    def read(self, text: str) -> Slots:
        """Find the slots of a text; only names by their looks and numbers where there are no tables."""
        return self._remembering(text) if len(text) <= REMEMBERED_CHARS else self._reader.read(text)
