"""``python -m simulation --seed N``: replay one run (see ``simulation``); more of them with ``make simulate``."""

from __future__ import annotations
import sys, time
from .actions import play
from .simulation import Simulation

first, last = int(sys.argv[1]), int(sys.argv[2])
began = time.perf_counter()
steps = passes = 0
bad = 0
for seed in range(first, last):
    began_seed = time.perf_counter()
    try:
        with Simulation(seed) as simulation:
            play(simulation, 40)
    except AssertionError as e:
        bad += 1
        print("SEED", seed, str(e).split("\n")[0] if len(sys.argv) < 4 else e)
    steps += simulation.steps
    passes += simulation.ledger.total_passes
s = time.perf_counter() - began
print(
    f"{last - first} seeds, {bad} bad, {steps} steps, {passes} passes, {s:.1f} s, {passes / s:.0f} passes/s {steps / s:.0f} steps/s"
)
