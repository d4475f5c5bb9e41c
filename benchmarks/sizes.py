"""How much is measured: in full, or in the quick form."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    rounds: int = 5
    entries: int = 10_000
    """Entries that a cache holds where nothing else is said."""
    exact_requests: int = 4_000
    """Requests of one round, where an answer takes well under a millisecond."""
    embedded: int = 100
    """Texts embedded one at a time in one round."""
    loaded: int = 320
    """Texts embedded under load in one round."""
    stored: int = 10_000
    """Entries written in one round with their embeddings given."""
    single_inserts: int = 100
    grown: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    """Entries of one model; each size is compared with 10,000."""
    indexed: tuple[int, ...] = (10_000, 100_000)
    """Entries of each local index."""
    searches: int = 400
    models: int = 10_000
    real_vectors: bool = True
    pairs: int = 500
    """Pairs of duplicates, and as many others, of each language."""
    trust_pairs: int = 0
    """Pairs of each language whose questions are cached or asked; 0: all."""
    suite_stride: int = 1
    """Every so manyth case of a suite is asked."""


FULL = Sizes()
QUICK = Sizes(
    rounds=2,
    entries=500,
    exact_requests=500,
    embedded=10,
    loaded=48,
    stored=1_000,
    single_inserts=10,
    grown=(1_000, 30_000),
    indexed=(1_000,),
    searches=50,
    models=50,
    real_vectors=False,
    pairs=20,
    trust_pairs=80,
    suite_stride=12,
)
