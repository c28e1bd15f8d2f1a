"""The command line against a program that does nothing but the one GET."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .findings import Arm, Finding
from .intervals import median, median_ratio
from .run import Run
from .single import main

_BARE = """
import sys, httpx
answer = httpx.get(sys.argv[1], headers={"Authorization": f"Bearer {sys.argv[2]}"})
answer.raise_for_status()
print("\\n".join(each["metadata"]["name"] for each in answer.json()["items"]))
"""


def measure(run: Run) -> list[Finding]:
    """Run both in turn, twice for each pair."""
    names = run.fleet
    system = run.product.system
    token = (system.state_dir / "token").read_text().strip()
    cco = [str(Path(sys.executable).parent / "cco"), "get", "instances"]
    bare = [sys.executable, "-c", _BARE, f"{system.address}/api/instances", token]
    ours, theirs = Arm("ms"), Arm("ms")
    for arm, argv in ((ours, cco), (theirs, bare)) * (2 * run.options.pairs + 1):
        arm.samples.append(_time(argv, system.environment, names))
    for arm in (ours, theirs):
        del arm.samples[0]  # byte code and caches
    arms = {"cco": ours, "bare httpx": theirs}
    return [
        Finding("commands.time", median(ours.samples), arms, (f"{len(names)} instances",)),
        Finding("commands.ratio", median_ratio(ours.samples, theirs.samples), arms),
    ]


def _time(argv: Sequence[str], environment: dict[str, str], names: Sequence[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True)
    milliseconds = 1000 * (time.perf_counter() - began)
    if names[-1] not in done.stdout:
        raise RuntimeError(f"{argv[0]} does not show {names[-1]}")
    return milliseconds


if __name__ == "__main__":
    main(measure)
