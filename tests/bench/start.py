"""From the first POST to the last Ready, and back: 1, 5 and 20 instances, against a bare script.

Three arms take turns: the product; the script with the same image and program, agent and all; and the script with
containers that have tmux and nothing of ours, which shows what the agent costs. What is started is deleted again in
the same turn, so that the fleet is empty at the beginning of each.
"""

from __future__ import annotations

from .findings import Arm, Finding
from .intervals import median_ratio
from .run import Run, timed
from .single import main

KINDS = ("agent", "tmux")


def measure(run: Run) -> list[Finding]:
    """Measure all sizes."""
    run.product.start(warm := run.names(1, "warm"))
    run.product.delete(warm)
    found = []
    for size in run.options.sizes:
        found += _measure(run, size)
    return found


def _measure(run: Run, size: int) -> list[Finding]:
    starts = {arm: Arm("s") for arm in ("product", *KINDS)}
    deletes = {arm: Arm("s") for arm in ("product", *KINDS)}
    for pair in range(run.options.pairs):
        turns = ["product", *KINDS]
        for arm in turns if pair % 2 == 0 else reversed(turns):
            names = run.names(size, arm)
            run.settle()
            if arm == "product":
                timed(starts[arm], run.product.cpu, lambda names=names: run.product.start(names))  # type: ignore[misc]  # bound now
                run.settle()
                timed(deletes[arm], run.product.cpu, lambda names=names: run.product.delete(names))  # type: ignore[misc]  # bound now
            else:
                timed(starts[arm], run.raw.cpu, lambda names=names, arm=arm: run.raw.start(names, arm))  # type: ignore[misc]  # bound now
                run.settle()
                timed(deletes[arm], run.raw.cpu, lambda names=names: run.raw.delete(names))  # type: ignore[misc]  # bound now
        last = {arm: f"{each.samples[-1]:.2f}/{deletes[arm].samples[-1]:.2f}" for arm, each in starts.items()}
        run.say(f"start/delete of {size}: {last}")
    return _findings(size, starts, deletes, last=size == run.options.sizes[-1])


def _findings(size: int, starts: dict[str, Arm], deletes: dict[str, Arm], *, last: bool) -> list[Finding]:
    key = f"start.{size}"
    found = [
        Finding(key, median_ratio(starts["product"].samples, starts["agent"].samples), _pick(starts, "agent")),
        Finding(f"{key}_tmux", median_ratio(starts["product"].samples, starts["tmux"].samples), _pick(starts, "tmux")),
    ]
    if last:
        ratio = median_ratio(deletes["product"].samples, deletes["agent"].samples)
        found.append(Finding("start.delete", ratio, _pick(deletes, "agent")))
    return found


def _pick(arms: dict[str, Arm], other: str) -> dict[str, Arm]:
    return {"product": arms["product"], f"script ({other})": arms[other]}


if __name__ == "__main__":
    main(measure)
