"""``python tests/support/fake_world_controller.py LOG run ...``: the controller's program over a fake engine.

Everything but the engine is real. Each change of the engine's world is a line in ``LOG``, so that a test sees from
outside what this very process did.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from controller import __main__ as program  # noqa: E402  # found on the path that was just set
from controller.runtime.choice import Runtimes, only  # noqa: E402
from controller.settings import Settings  # noqa: E402
from support.fake_engine import FakeEngine  # noqa: E402
from support.fake_runtime import FakeRuntime  # noqa: E402


class Log(list[str]):
    """A list of changes that are also lines of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def append(self, change: str) -> None:
        super().append(change)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{change}\n")


def main(log: str, *arguments: str) -> int:
    """Run the program; returns its exit code."""
    return run(FakeEngine(), log, *arguments)


def run(engine: FakeEngine, log: str, *arguments: str) -> int:
    """Run the program over an engine; returns its exit code."""
    engine.changes = Log(Path(log))

    def fake(settings: Settings, installation: str) -> Runtimes:
        return only(FakeRuntime(engine, installation=installation, prefix=settings.container_prefix))

    Runtimes.from_settings = staticmethod(fake)  # type: ignore[method-assign]  # in place of the engine that is not there
    return program.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
