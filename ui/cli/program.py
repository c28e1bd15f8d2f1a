"""The program: parse, call one command, turn what went wrong into two lines and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Never

import typer
from typer.core import TyperGroup

from .command_table import add_commands
from .deferred import Debug, NoColor, Server, TokenFile, remember
from .exit_codes import MEANINGS, ExitCode
from .failures import Failure, translate
from .rendering.terminal import safe, standard_error

HELP = "Keep a declared fleet of Claude Code instances running, each in its own git worktree and container."
EPILOG = "Exit codes: " + ", ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items()) + "."


class Root(TyperGroup):
    """The program; the only place where exceptions end."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401  # Typer's own arguments, passed on
        super().__init__(**attributes)
        add_commands(self)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Never:  # type: ignore[override]  # noqa: ANN401  # the base class's arguments, passed on; we always exit
        """Run the command line and exit; never returns and never shows a traceback unless ``--debug`` asks."""
        extra["standalone_mode"] = False
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(args=arguments, prog_name=prog_name, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            _silence(sys.stdout.fileno())
            code = ExitCode.BROKEN_PIPE
        except KeyboardInterrupt:
            code = ExitCode.INTERRUPTED
        except typer.Abort:
            code = ExitCode.INTERRUPTED
        except Exception as error:  # noqa: BLE001  # the boundary: whatever it is, a person gets a sentence
            code = _report(error, debug="--debug" in arguments, no_color="--no-color" in arguments)
        sys.exit(int(code or 0))

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  # the context class is private to Typer
        """Run the command; a reader that went away is no error to report."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _silence(sys.stdout.fileno())
            raise typer.Exit(ExitCode.BROKEN_PIPE) from None


app = typer.Typer(
    cls=Root,
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    ctx: typer.Context,
    *,
    server: Server = None,
    token_file: TokenFile = None,
    no_color: NoColor = False,
    debug: Debug = False,
) -> None:
    """Remember the global options; the docstring people see is ``HELP``."""
    remember(ctx, server=server, token_file=token_file, no_color=no_color, debug=debug)


def run() -> Never:
    """Run the command line of this process and exit."""
    _spare_imports()
    name = Path(sys.argv[0]).name
    sys.exit(typer.main.get_command(app).main(prog_name=name if name in {"cco", "cc-orchestrator"} else "cco"))


def _spare_imports() -> None:
    """Keep httpx from importing its own command line, half of its time; it is prepared for an absent one."""
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None is Python's own mark for "not to be had"


def _report(error: Exception, *, debug: bool, no_color: bool) -> ExitCode:
    """Print an error as one or two lines and return the exit code."""
    failure = _usage(error) if isinstance(error, typer.TyperException) else translate(error)
    if failure is None:
        failure = Failure(
            f"unforeseen {type(error).__name__}: {error}",
            hint="this is a mistake in cc-orchestrator: call it again with --debug and report what it prints",
        )
        if debug:
            traceback.print_exception(error)
    if not failure.message:  # a group without a command: its help was printed
        return failure.code
    terminal = standard_error(no_color=no_color)
    with contextlib.suppress(BrokenPipeError):
        terminal.line(f"{terminal.style('error:', 'bad')} {safe(failure.message)}")
        if failure.hint:
            terminal.line(f"  {terminal.style('next:', 'dim')} {safe(failure.hint)}")
    return failure.code


def _usage(error: typer.TyperException) -> Failure:
    """Return a usage error as ours: what, and which help to read."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "cco"
    message = error.format_message().strip()
    return Failure(message, hint=f"{path} --help", code=ExitCode.USAGE)


def _silence(descriptor: int) -> None:
    """Point a stream at nothing, so that the interpreter's last flush cannot fail again."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
