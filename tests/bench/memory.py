"""What controller and server hold with a fleet running: PSS, so that what they share counts once."""

from __future__ import annotations

import time

from .findings import Arm, Finding
from .intervals import median
from .processes import memory
from .run import Run
from .single import main


def measure(run: Run) -> list[Finding]:
    """Look a few times."""
    names = run.fleet
    controller, server, resident = Arm("MiB"), Arm("MiB"), Arm("MiB")
    for _ in range(run.options.pairs):
        run.product.instances()
        time.sleep(1)
        for arm, pid in zip((controller, server), run.product.pids, strict=True):
            arm.samples.append(memory(pid))
        resident.samples.append(sum(memory(pid, "Rss") for pid in run.product.pids))
    both = [one + other for one, other in zip(controller.samples, server.samples, strict=True)]
    arms = {"controller": controller, "server": server, "RSS of both": resident}
    return [Finding("memory.pss", median(both), arms, (f"{len(names)} instances",))]


if __name__ == "__main__":
    main(measure)
