"""``python -m bench.fake_controller run``: the controller's program, with engine, git and agents in memory."""

from __future__ import annotations

import sys
from pathlib import Path

from controller import __main__ as program
from controller import application
from controller.runtime.choice import Runtimes, only
from controller.settings import Settings
from support.fake_runtime import FakeRuntime
from support.fake_workspaces import FakeGit, FakeWorkspaces

from .fakes import QuickAgents, QuickEngine

REPOSITORY = "/repositories/shop"


def main(*arguments: str) -> int:
    """Run the program; returns its exit code."""
    engine, git = QuickEngine(), FakeGit()
    git.add_repository(REPOSITORY)

    def runtimes(settings: Settings, installation: str) -> Runtimes:
        return only(FakeRuntime(engine, installation=installation, prefix=settings.container_prefix))

    def workspaces(_: Path) -> FakeWorkspaces:
        return FakeWorkspaces(git)

    Runtimes.from_settings = staticmethod(runtimes)  # type: ignore[method-assign]  # in place of an engine
    application.GitWorkspaces = workspaces  # type: ignore[attr-defined,assignment]  # in place of git
    QuickAgents.take_the_place_of_all(engine)
    return program.main(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
