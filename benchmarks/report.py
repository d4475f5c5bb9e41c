"""Show results as tables, and keep them as JSON and as plots."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks.measure import Comparison, Report, Result

mpl.use("Agg")
LATENCIES = "latency-and-recall"
TRUST = "trust-curves"
CASES = "cases-curves"
CASES_IN_A_ROW = 3
CASES_OURS = "ModelCache, this one"
HEAD = "| name | ours | beside | ratio | to reach | |\n| --- | --- | --- | --- | --- | --- |"


def machine() -> str:
    """Say what it was measured on."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    except OSError:
        pass
    return f"{os.cpu_count()} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def line(result: Result) -> str:
    """Return a result as it is shown at once."""
    if isinstance(result, Report):
        return f"{result.name}: {len(result.lines)} lines"
    return f"{result.name}: {_spread(result.ratios)} (to reach {_goal(result)})"


def tables(results: Sequence[Result], where: str) -> str:
    """Return the machine and all results as Markdown."""
    parts = [f"Measured on {where}. Median of all rounds, smallest to largest in brackets."]
    comparisons = [result for result in results if isinstance(result, Comparison)]
    if comparisons:
        parts.append("\n".join([HEAD, *map(_row, comparisons)]))
    for table in [result for result in results if isinstance(result, Report) and result.shown]:
        head = f"| {' | '.join(table.columns)} |\n|{' --- |' * len(table.columns)}"
        parts += [
            f"`{table.name}`:",
            "\n".join([head, *(f"| {' | '.join(cells)} |" for cells in table.lines)]),
        ]
    return "\n\n".join(parts)


def _row(result: Comparison) -> str:
    ours, theirs = (f"{_spread(side)} {result.unit}" for side in (result.ours, result.theirs))
    remark = f"; {result.remark}" if result.remark else ""
    return (
        f"| `{result.name}` | {result.ours_is}: {ours} | {result.theirs_is}: {theirs} "
        f"| {_spread(result.ratios)} | {_goal(result)}{remark} | {'' if result.reached else 'missed'} |"
    )


def save(results: Sequence[Result], folder: Path) -> None:
    """Write each result as JSON, and plots of all that are there; an earlier one of that name is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        kind = "comparison" if isinstance(result, Comparison) else "report"
        data = {"kind": kind, "machine": machine()} | asdict(result)
        name = result.name.replace(", ", "-").replace(" ", "-").lower()
        (folder / f"{name}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    every, _ = load(folder)
    for result in every:
        if isinstance(result, Report) and result.name == LATENCIES:
            _plot_latencies(result, folder / "latency.png")
        if isinstance(result, Report) and result.name == TRUST:
            _plot_trust(result, folder / "trust.png")
        if isinstance(result, Report) and result.name == CASES:
            _plot_cases(result, folder / "cases.png")
    comparisons = [result for result in every if isinstance(result, Comparison)]
    if comparisons:
        _plot_ratios(comparisons, folder / "ratios.png")


def load(folder: Path) -> tuple[list[Result], str]:
    """Return the results that are kept in a folder, by name, and what they were measured on."""
    results: list[Result] = []
    machines: set[str] = set()
    for path in sorted(folder.glob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        machines.add(data.pop("machine"))
        results.append(Comparison(**data) if data.pop("kind") == "comparison" else Report(**data))
    return results, "; ".join(sorted(machines))


def _plot_latencies(table: Report, path: Path) -> None:
    """Draw the table's third and fourth columns, p50 and p95, over its first, for each kind of question."""
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for kind in dict.fromkeys(line[1] for line in table.lines):
        lines = [cells for cells in table.lines if cells[1] == kind]
        entries = [int(cells[0].replace(",", "")) for cells in lines]
        for column, style in ((2, "o-"), (3, "o:")):
            label = f"{table.columns[column].removesuffix(' ms')}, {kind} questions"
            axes.plot(entries, [float(cells[column]) for cells in lines], style, label=label)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("entries of one model")
    axes.set_ylabel("ms for a search with its rows, without embedding")
    axes.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _plot_trust(table: Report, path: Path) -> None:
    """Draw the right share of hits over what is found; a dot is the decision at its default."""
    languages = list(dict.fromkeys(line[0] for line in table.lines))
    decisions = list(dict.fromkeys(line[1] for line in table.lines))
    figure, every = pyplot.subplots(
        1, len(languages), figsize=(6 * len(languages), 4.5), layout="constrained", sharey=True, squeeze=False
    )
    for axes, language in zip(every[0], languages, strict=True):
        for number, decision in enumerate(decisions):
            lines = [line for line in table.lines if line[:2] in ([language, decision], (language, decision))]
            points = {
                kind: [tuple(map(float, line[3:])) for line in lines if line[2] == kind]
                for kind in ("curve", "default")
            }
            # Decisions by the same nearest entry lie on one curve: the first is the widest, below the others.
            width = 2 + 3 * (len(decisions) - 1 - number)
            axes.plot(
                *zip(*points["curve"], strict=True), label=decision, color=f"C{number}", linewidth=width
            )
            axes.plot(
                *zip(*points["default"], strict=True),
                "o",
                color=f"C{number}",
                markersize=9,
                markeredgecolor="black",
                zorder=3,
            )
        axes.set_title(language)
        axes.set_xlabel("share of the duplicates found")
    every[0][0].set_ylabel("right share of hits")
    every[0][0].legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _plot_cases(table: Report, path: Path) -> None:
    """Draw the wrong share of hits over what is found, a panel for each kind of questions.

    Lower and further right is better; a dot is what a user gets who sets nothing.
    """
    panels = list(dict.fromkeys(line[0] for line in table.lines))
    # Ours comes last, and is drawn over the others.
    decisions = sorted(dict.fromkeys(line[1] for line in table.lines), key=lambda name: name == CASES_OURS)
    rows = -(-len(panels) // CASES_IN_A_ROW)
    size = 4.6 * min(len(panels), CASES_IN_A_ROW), 3.8 * rows + 0.8
    figure, every = pyplot.subplots(
        rows, min(len(panels), CASES_IN_A_ROW), figsize=size, layout="constrained", sharey=True, squeeze=False
    )
    for axes in every.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(every.flat, panels, strict=False):
        for number, decision in enumerate(decisions):
            ours = decision == CASES_OURS
            # Decisions by the same nearest entry lie on one curve: the first is the widest.
            style = {
                "color": "tab:red" if ours else ("silver", "tab:blue", "tab:orange")[number % 3],
                "linewidth": 2.5 if ours else 6 - 2 * (number % 3),
            }
            lines = [line for line in table.lines if line[0] == panel and line[1] == decision]
            for kind, marker, label in (("curve", "-", decision), ("default", "o", None)):
                points = [(100 * float(line[3]), 100 * float(line[4])) for line in lines if line[2] == kind]
                if points:
                    edge = {"markersize": 10, "markeredgecolor": "black"} if marker == "o" else {}
                    axes.plot(*zip(*points, strict=True), marker, label=label, **style, **edge)
        axes.set_title(panel)
        axes.set_xlabel("rephrasings answered, %")
        axes.grid(alpha=0.3)
    for axes in every[:, 0]:
        axes.set_ylabel("wrong among the hits, %")
    every[0][0].set_ylim(bottom=-2)
    figure.legend(
        *every[0][0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(decisions),
        title="lower and further right is better; a dot is what the default settings give",
    )
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _plot_ratios(comparisons: Sequence[Comparison], path: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(9, 0.6 * len(comparisons) + 1.5), layout="constrained")
    for place, result in enumerate(comparisons):
        # How far beyond the goal, whichever way is better.
        beyond = [
            ratio / result.goal if result.more_is_better else result.goal / ratio for ratio in result.ratios
        ]
        colour = "tab:green" if result.reached else "tab:red"
        axes.barh(place, median(beyond), color=colour, alpha=0.6)
        axes.plot([min(beyond), max(beyond)], [place, place], color="black", linewidth=1)
    axes.axvline(1, color="black", linestyle="--", linewidth=1)
    axes.set_yticks(range(len(comparisons)), [result.name for result in comparisons])
    axes.set_xscale("log")
    axes.set_xlabel("how many times as good as the goal (dashed); the line spans all rounds")
    axes.invert_yaxis()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _goal(result: Comparison) -> str:
    return f"{'≥' if result.more_is_better else '≤'} {short(result.goal)}"


def _spread(values: Sequence[float]) -> str:
    return f"{short(median(values))} ({short(min(values))} to {short(max(values))})"


def short(value: float) -> str:
    """Three digits, which is more than the noise leaves sure."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
