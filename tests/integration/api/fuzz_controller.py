"""``python tests/integration/api/fuzz_controller.py LOG run ...``: that of ``fake_world_controller``, with agents.

They are up as soon as their container is, so that an instance becomes ready and what is left of a run can be judged.
"""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from bench.fakes import QuickAgents  # noqa: E402  # found on the path that was just set
from support import fake_world_controller  # noqa: E402
from support.fake_engine import FakeEngine  # noqa: E402


def main(log: str, *arguments: str) -> int:
    """Run the program; returns its exit code."""
    engine = FakeEngine()
    QuickAgents.take_the_place_of_all(engine)
    return fake_world_controller.run(engine, log, *arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
