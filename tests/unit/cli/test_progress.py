from __future__ import annotations

import io
import re

import pytest

from ui.cli.progress import LineSteps, LiveSteps, open_progress
from ui.cli.rendering.terminal import Terminal
from ui.cli.steps import Step, StepState

WAITING = Step("session", StepState.WAITING)
ACTIVE = Step("container", StepState.ACTIVE, "there is no container")
DONE = Step("workspace", StepState.DONE, "/srv/shop.worktrees/web on branch web")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def terminal(*, interactive: bool) -> tuple[Terminal, io.StringIO]:
    stream = io.StringIO()
    return Terminal(stream, interactive=interactive, color=False, width=80), stream


def test_a_pipe_gets_a_line_for_each_change() -> None:
    place, stream = terminal(interactive=False)
    clock = Clock()
    with open_progress("instance/web", place, clock) as progress:
        assert isinstance(progress, LineSteps)
        progress.show([DONE, ACTIVE, WAITING])
        progress.show([DONE, ACTIVE, WAITING])
        clock.now += 1.5
        progress.show([DONE, Step("container", StepState.DONE, "cco-web-1"), WAITING])
        progress.show([DONE, Step("container", StepState.FAILED, "OOMKilled: \x1b[31m"), WAITING])
    assert stream.getvalue().splitlines() == [
        "instance/web   0.0s workspace done: /srv/shop.worktrees/web on branch web",
        "instance/web   0.0s container active: there is no container",
        "instance/web   1.5s container done: cco-web-1",
        "instance/web   1.5s container failed: OOMKilled: \\x1b[31m",
    ]


def test_a_screen_gets_a_list_that_stays_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    place, stream = terminal(interactive=True)
    clock = Clock()
    with open_progress("instance/web", place, clock) as progress:
        assert isinstance(progress, LiveSteps)
        progress.show([DONE, ACTIVE, WAITING])
        clock.now += 2
        progress.show([DONE, Step("container", StepState.FAILED, "ImageNotFound:\nno such image \x1b[31m"), WAITING])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    last = text[text.rindex("instance/web") :].splitlines()
    assert [line.rstrip() for line in last[:4]] == [
        "instance/web",
        "  ✓ workspace    0.0s  /srv/shop.worktrees/web on branch web",
        "  ✗ container    2.0s  ImageNotFound: no such image \\x1b[31m",
        "  · session",
    ]
