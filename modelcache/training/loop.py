"""One way to teach any of the two models: seeded, resumable, with its progress on the disk."""

import json
import logging
import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from modelcache.training.examples import Example

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.pt"
PROGRESS = "progress.jsonl"
WARM_UP = 0.06
WEIGHT_DECAY = 0.01
LARGEST_GRADIENT = 1.0
# Pairs of like lengths share a batch, so that little is computed for padding. They are sorted in pools.
POOL_BATCHES = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model is taught."""

    folder: Path
    """Where the checkpoint and the progress lie."""
    batch: int
    rate: float
    """The learning rate at its highest, of the encoder."""
    head_rate: float
    """The same of what is not in the encoder."""
    seed: int
    most_steps: int | None = None
    """Where to stop, None: after all examples."""
    most_seconds: float = math.inf
    """When to stop: towards it the rates fall to nothing, as they do towards the last step."""
    checkpoint_seconds: float = 300.0
    measure_steps: int = 250


@dataclass(frozen=True, slots=True)
class Point:
    """What was seen at a step."""

    step: int
    seconds: float
    loss: float
    measured: dict[str, float]


def device() -> torch.device:
    """Return a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def teach(
    model: nn.Module,
    head: Sequence[nn.Parameter],
    examples: Sequence[Example],
    lengths: Sequence[int],
    loss_of: Callable[[Sequence[Example]], Tensor],
    measure: Callable[[], dict[str, float]],
    plan: Plan,
) -> list[Point]:
    """Go once through the examples, and return what was seen on the way.

    Where the folder holds a checkpoint of the same plan, it goes on from there. ``lengths`` are how many
    tokens each example takes.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    batches = _batches(lengths, plan)[: plan.most_steps]
    optimizer = _optimizer(model, head, plan)
    peaks = [group["lr"] for group in optimizer.param_groups]
    done, points, spent = _resume(model, optimizer, plan)
    started = saved = time.monotonic()
    losses: list[float] = []
    model.train()
    for step in tqdm(
        range(done, len(batches)), initial=done, total=len(batches), desc="teaching", disable=None
    ):
        before = spent + time.monotonic() - started
        share = min(_schedule(step, len(batches)), max(0.0, 1 - before / plan.most_seconds))
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * share
        losses.append(_step(model, optimizer, loss_of, [examples[number] for number in batches[step]]))
        now = time.monotonic()
        last = step + 1 == len(batches) or spent + now - started >= plan.most_seconds
        if (step + 1) % plan.measure_steps == 0 or last:
            model.eval()
            with torch.inference_mode():
                measured = measure()
            model.train()
            points.append(Point(step + 1, spent + now - started, sum(losses) / len(losses), measured))
            _show(points[-1], len(batches), plan)
            losses = []
        if now - saved > plan.checkpoint_seconds or last:
            _save(model, optimizer, points, step + 1, spent + now - started, plan)
            saved = now
        if last:
            break
    model.eval()
    return points


def _step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Sequence[Example]], Tensor],
    batch: Sequence[Example],
) -> float:
    """Learn from one batch, and return its loss before."""
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(batch)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
    optimizer.step()
    return float(loss.detach())


def _batches(lengths: Sequence[int], plan: Plan) -> list[list[int]]:
    drawing = random.Random(plan.seed)
    order = list(range(len(lengths)))
    drawing.shuffle(order)
    found: list[list[int]] = []
    for start in range(0, len(order), plan.batch * POOL_BATCHES):
        pool = sorted(order[start : start + plan.batch * POOL_BATCHES], key=lambda number: lengths[number])
        batches = [pool[place : place + plan.batch] for place in range(0, len(pool), plan.batch)]
        drawing.shuffle(batches)
        found += batches
    return found


def _optimizer(model: nn.Module, head: Sequence[nn.Parameter], plan: Plan) -> torch.optim.Optimizer:
    apart = {id(one) for one in head}
    taught = [one for one in model.parameters() if one.requires_grad and id(one) not in apart]
    groups = [{"params": taught, "lr": plan.rate}, {"params": list(head), "lr": plan.head_rate}]
    return torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)


def _schedule(step: int, steps: int) -> float:
    """Rise over the warm-up, then fall to nothing along a line."""
    rising = max(1, math.ceil(steps * WARM_UP))
    return (step + 1) / rising if step < rising else (steps - step) / (steps - rising + 1)


def _resume(model: nn.Module, optimizer: torch.optim.Optimizer, plan: Plan) -> tuple[int, list[Point], float]:
    path = plan.folder / CHECKPOINT
    if not path.is_file():
        return 0, [], 0.0
    kept: dict[str, Any] = torch.load(path, map_location=device(), weights_only=True)
    if kept["plan"] != _signature(plan):
        logger.warning("%s is of another plan: starting anew", path)
        return 0, [], 0.0
    model.load_state_dict(kept["model"])
    optimizer.load_state_dict(kept["optimizer"])
    logger.info("going on from step %d", kept["step"])
    return kept["step"], [Point(**point) for point in kept["points"]], kept["seconds"]


def _save(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    points: Sequence[Point],
    step: int,
    seconds: float,
    plan: Plan,
) -> None:
    path = plan.folder / CHECKPOINT
    half = path.with_suffix(".half-written")
    kept = {
        "plan": _signature(plan),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "points": [asdict(point) for point in points],
        "step": step,
        "seconds": seconds,
    }
    torch.save(kept, half)
    os.replace(half, path)


def _signature(plan: Plan) -> list[float]:
    return [plan.batch, plan.rate, plan.head_rate, plan.seed]


def _show(point: Point, steps: int, plan: Plan) -> None:
    measured = ", ".join(f"{name} {value:.4f}" for name, value in point.measured.items())
    tqdm.write(f"step {point.step} of {steps}, {point.seconds:.0f} s: loss {point.loss:.4f}; {measured}")
    with (plan.folder / PROGRESS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(point)) + "\n")
