"""Commands that are imported when they are called, so that ``cco version`` does not pay for ``cco apply``.

A command is a plain function ``def name(cli: Invocation, ...typer parameters...)``. The table of commands names it
as ``module:function``; :class:`Deferred` stands for it in help and completion and loads it when it is called. Every
command gets the global options too, so that they may stand behind it as well as before it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from .garbage import collect_from_here
from .invocation import Invocation

GLOBAL_PANEL = "Global options"

Server = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Address of the server; default: CCO_SERVER, else the configured port on this machine.",
        rich_help_panel=GLOBAL_PANEL,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File with the API token; default: CCO_TOKEN_FILE, else the state directory's.",
        rich_help_panel=GLOBAL_PANEL,
    ),
]
NoColor = Annotated[
    bool,
    typer.Option("--no-color", help="Plain text, also on a terminal (as NO_COLOR does).", rich_help_panel=GLOBAL_PANEL),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an unforeseen error.", rich_help_panel=GLOBAL_PANEL),
]


def remember(  # one parameter per global option
    ctx: typer.Context, *, server: str | None, token_file: Path | None, no_color: bool, debug: bool
) -> Invocation:
    """Return this call's :class:`Invocation`, made at the first time and updated with the options given."""
    invocation: Invocation = ctx.ensure_object(Invocation)
    invocation.server = server or invocation.server
    invocation.token_file = token_file or invocation.token_file
    invocation.no_color = no_color or invocation.no_color
    invocation.debug = debug or invocation.debug
    return invocation


def with_global_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return what Typer shall call: the function's own parameters, then the global options."""
    signature = inspect.signature(function, eval_str=True)
    _, *own = signature.parameters.values()

    def parameter(name: str, annotation: object, default: object = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    @wraps(function)
    def call(**values: Any) -> None:  # noqa: ANN401  # whatever the function's own parameters are
        collect_from_here()
        options = {name: values.pop(name) for name in ("server", "token_file", "no_color", "debug")}
        function(remember(values.pop("ctx"), **options), **values)

    call.__signature__ = signature.replace(  # type: ignore[attr-defined]  # the documented way to tell inspect
        parameters=[
            parameter("ctx", typer.Context),
            *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own),
            parameter("server", Server, None),
            parameter("token_file", TokenFile, None),
            parameter("no_color", NoColor, default=False),
            parameter("debug", Debug, default=False),
        ]
    )
    return call


def _paragraphs(function: Callable[..., None]) -> str:
    """Return the docstring with each paragraph on one line, so that the help wraps it to the terminal."""
    return "\n\n".join(" ".join(part.split()) for part in (inspect.getdoc(function) or "").split("\n\n"))


class Deferred(TyperCommand):
    """Name and one line of help of a command that lives elsewhere.

    Attributes:
        target: ``module:function``, relative to ``ui.cli.commands``.
    """

    def __init__(self, name: str, target: str, help: str, *, hidden: bool = False, panel: str | None = None) -> None:  # noqa: A002  # the base class's own word
        super().__init__(name, help=help, hidden=hidden, rich_help_panel=panel)
        self.target = target

    def load(self) -> TyperCommand:
        """Import the module and return the command."""
        module, function = self.target.split(":")
        app = typer.Typer(add_completion=False, rich_markup_mode="rich")
        call = getattr(import_module(f"ui.cli.commands.{module}"), function)
        app.command(name=self.name, help=_paragraphs(call))(with_global_options(call))
        command = typer.main.get_command(app)
        if not isinstance(command, TyperCommand):  # pragma: no cover  # one function makes a command, not a group
            raise TypeError(self.target)
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401  # the context class is private to Typer
        """Return the context of the command itself: from here on nobody sees the stand-in."""
        return self.load().make_context(info_name, args, parent=parent, **extra)
