"""The embedded stores as they grow: to a million entries of one model, and to ten thousand models."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import gettempdir

from benchmarks import growth
from benchmarks.measure import Comparison, Report, Result
from benchmarks.report import LATENCIES
from benchmarks.sizes import Sizes
from benchmarks.stocked import bundled_embedder, random_vectors
from benchmarks.vectors import Ground, ground_of, load_ground

KEPT = Path(gettempdir()) / "modelcache_bench"
SMALL_GROUND = 4000
SEARCH = "p50 of a search with its rows, without embedding"


def run_growth(sizes: Sizes, folder: Path) -> Iterator[Result]:
    """Compare the largest model with one of 10,000 entries; then its memory and its restarts."""
    base, most = sizes.grown[-2:] if len(sizes.grown) == 2 else (10_000, sizes.grown[-1])
    speeds = growth.growth(folder, load_vectors_ground(sizes), sizes.grown, sizes.searches)
    of = {(speed.entries, speed.kind): speed for speed in speeds}
    yield Comparison(
        "growth",
        f"{SEARCH}, {most:,} entries of one model",
        f"the same with {base:,}",
        "ms",
        of[most, "near"].p50_ms,
        of[base, "near"].p50_ms,
        goal=2.0,
        more_is_better=False,
    )
    yield Report(
        LATENCIES,
        ("entries", "questions", "p50 ms", "p95 ms", "recall@1", "recall@5", "recall@10"),
        [
            (
                *(f"{speed.entries:,}", speed.kind, f"{sorted(speed.p50_ms)[len(speed.p50_ms) // 2]:.2f}"),
                *(f"{speed.p95_ms:.2f}", *(f"{speed.recall[depth]:.4f}" for depth in growth.DEPTHS)),
            )
            for speed in speeds
        ],
    )
    memory = growth.memory(folder / str(most), most)
    yield Comparison(
        "memory",
        f"resident memory of the demo service for each of {most:,} entries",
        f"{growth.DIMENSION} dimensions as float32",
        "bytes",
        [memory.bytes_per_entry],
        [4.0 * growth.DIMENSION],
        goal=1.6,
        more_is_better=False,
    )
    starts = [growth.start(folder / str(most), most, after) for after in ("stopped", "killed")]
    yield Report(
        "start",
        ("entries", "the service was", "seconds to ready", "seconds of the first answer"),
        [
            (f"{one.entries:,}", one.after, f"{one.ready_seconds:.1f}", f"{one.first_answer_seconds:.1f}")
            for one in starts
        ],
    )


def run_tenants(sizes: Sizes, folder: Path) -> Iterator[Result]:
    """Compare many small models with one."""
    figures = growth.tenants(folder, load_vectors_ground(sizes), sizes.models, 100, sizes.searches)
    yield Comparison(
        "tenants",
        f"{SEARCH}, {figures.models:,} models of {figures.entries_each} entries",
        f"1 model of {figures.entries_each}",
        "ms",
        figures.p50_ms,
        figures.one_model_p50_ms,
        goal=1.5,
        more_is_better=False,
        remark=f"first question to a model after a start: {figures.first_use_p50_ms:.1f} ms",
    )


def load_vectors_ground(sizes: Sizes) -> Ground:
    """Return what vectors are made from: real questions, or random ones where figures do not matter."""
    if not sizes.real_vectors:
        return ground_of(random_vectors(SMALL_GROUND, growth.DIMENSION))
    return load_ground(KEPT / f"questions-{bundled_embedder().name}.npy")
