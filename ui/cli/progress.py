"""Showing steps while they happen: in place on a terminal, a line for each change elsewhere. Writes to stderr."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from .rendering.terminal import Terminal, safe
from .steps import Step, StepState

if TYPE_CHECKING:
    from rich.text import Text

_MARKS = {
    StepState.WAITING: ("·", "dim"),
    StepState.ACTIVE: ("…", "moving"),
    StepState.DONE: ("✓", "good"),
    StepState.FAILED: ("✗", "bad"),
}
_RICH_STYLES = {"dim": "dim", "moving": "blue", "good": "green", "bad": "red"}
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAMES_PER_SECOND = 8


class Progress(AbstractContextManager["Progress"], Protocol):
    """A place to show steps."""

    def show(self, steps: Sequence[Step]) -> None:
        """Show the steps as they are now; showing equal ones again does nothing."""


def open_progress(title: str, terminal: Terminal, clock: Callable[[], float]) -> Progress:
    """Return what suits the terminal. ``clock`` is monotonic, in seconds."""
    return LiveSteps(title, terminal, clock) if terminal.interactive else LineSteps(title, terminal, clock)


class LineSteps(AbstractContextManager["Progress"]):
    """One line for each step that changes: for pipes, logs and continuous integration."""

    def __init__(self, title: str, terminal: Terminal, clock: Callable[[], float]) -> None:
        self._terminal = terminal
        self._title = title
        self._clock = clock
        self._start = clock()
        self._shown: dict[str, Step] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held open."""

    def show(self, steps: Sequence[Step]) -> None:
        """Write the steps that are different from the last time."""
        for step in steps:
            if step.state is StepState.WAITING or self._shown.get(step.name) == step:
                continue
            self._shown[step.name] = step
            detail = f": {step.detail}" if step.detail else ""
            seconds = self._clock() - self._start
            self._terminal.line(safe(f"{self._title} {seconds:5.1f}s {step.name} {step.state}{detail}"))


class LiveSteps(AbstractContextManager["Progress"]):
    """A list that stays in place and moves while something is being done."""

    def __init__(self, title: str, terminal: Terminal, clock: Callable[[], float]) -> None:
        from rich.console import Console  # noqa: PLC0415  # only a terminal that waits needs it
        from rich.live import Live  # noqa: PLC0415  # as above

        self._title = title
        self._clock = clock
        self._start = clock()
        self._steps: Sequence[Step] = ()
        self._took: dict[str, float] = {}
        console = Console(file=terminal.stream, no_color=not terminal.color, highlight=False)
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=_FRAMES_PER_SECOND, transient=False
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, steps: Sequence[Step]) -> None:
        """Remember the steps; they are drawn with the next frame."""
        seconds = self._clock() - self._start
        for step in steps:
            if step.state in {StepState.DONE, StepState.FAILED}:
                self._took.setdefault(step.name, seconds)
            else:
                self._took.pop(step.name, None)
        self._steps = tuple(steps)

    def _render(self) -> Text:
        from rich.text import Text  # noqa: PLC0415  # imported already by the console

        seconds = self._clock() - self._start
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(safe(self._title), "bold")
        for step in self._steps:
            mark, style = _MARKS[step.state]
            if step.state is StepState.ACTIVE:
                mark = _FRAMES[int(seconds * _FRAMES_PER_SECOND) % len(_FRAMES)]
            text.append(f"\n  {mark} ", _RICH_STYLES[style])
            text.append(f"{step.name:<10}", "dim" if step.state is StepState.WAITING else "")
            if step.state is not StepState.WAITING:
                text.append(f"{self._took.get(step.name, seconds):6.1f}s  ", "dim")
            text.append(safe(step.detail).replace("\n", " "), "red" if step.state is StepState.FAILED else "")
        return text
