"""``config``: which settings hold, where they come from, and where things are. Local: asks no server."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from controller.errors import Terminal
from controller.settings import Settings, config_path, load_settings
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.invocation import Invocation
from ui.cli.options import Output, OutputOption
from ui.cli.rendering.serial import to_json, to_yaml
from ui.cli.rendering.table import Cell, Column, table

_SECRET_NAME = re.compile(r"token|secret|password|api_?key", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]*@")
MASK = "********"
MODEL_VARIABLE = "ANTHROPIC_BASE_URL"


def show(cli: Invocation, *, output: OutputOption = Output.TABLE) -> None:
    """Show every setting and where its value comes from.

    Secrets are never settings; credentials inside an address are masked all the same.
    """
    settings = load_settings()
    values = {name: masked(name, value) for name, value in settings.model_dump(mode="json").items()}
    out = cli.out
    if os.environ.get("CCO_CONFIG") and not config_path().exists():
        cli.err.line(f"there is no file {config_path()}, which CCO_CONFIG names", "notice")
    if output is Output.JSON:
        out.line(to_json(values))
    elif output is Output.YAML:
        out.line(to_yaml(values))
    elif output is Output.NAME:
        out.line("\n".join(values))
    else:
        rows: list[list[Cell | str]] = [
            [name, _text(value), Cell(_source(name), "dim")] for name, value in values.items()
        ]
        columns = [Column("SETTING"), Column("VALUE", shrinks=True), Column("FROM", shrinks=True)]
        out.line("\n".join(table(columns, rows, out)))


def validate(
    cli: Invocation,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Default: the file 'config locations' names.")
    ] = None,
) -> None:
    """Check a configuration file.

    The environment (CCO_...) is checked with it. Exit code 5 when something is wrong.
    """
    path = file or config_path()
    if file is not None and not file.is_file():
        raise Failure(f"{file}: there is no such file", code=ExitCode.NOT_FOUND)
    before = os.environ.get("CCO_CONFIG")
    os.environ["CCO_CONFIG"] = str(path)
    try:
        load_settings()
    except Terminal as error:
        told = error.message.startswith(("CCO_", str(path)))
        raise Failure(
            error.message if told else f"{path}: {error.message}",
            hint="'cco config show' lists every setting, docs/reference/settings.md explains them",
            code=ExitCode.INVALID,
        ) from error
    finally:
        if before is None:
            del os.environ["CCO_CONFIG"]
        else:
            os.environ["CCO_CONFIG"] = before
    cli.out.line(f"{path}: {'valid' if path.exists() else 'does not exist; the defaults are valid'}")


def locations(cli: Invocation, *, output: OutputOption = Output.TABLE) -> None:
    """Show where configuration, state and token are."""
    settings = load_settings()
    places = {
        "configuration": config_path(),
        "state": settings.state_dir,
        "database": settings.database,
        "token": Path(os.environ.get("CCO_TOKEN_FILE") or settings.token_file),
        "controller socket": settings.controller_socket,
        "instances": settings.instance_dir("NAME"),
    }
    out = cli.out
    if output in {Output.JSON, Output.YAML}:
        data = {name: str(path) for name, path in places.items()}
        out.line(to_json(data) if output is Output.JSON else to_yaml(data))
        return
    rows: list[list[Cell | str]] = [[name, str(path), _presence(path)] for name, path in places.items()]
    out.line("\n".join(table([Column("WHAT"), Column("WHERE"), Column("EXISTS")], rows, out)))


def masked(name: str, value: Any) -> Any:  # noqa: ANN401  # a setting can be any JSON value
    """Return the value as it may be shown."""
    if value is not None and _SECRET_NAME.search(name):
        return MASK
    if isinstance(value, str):
        return _USER_INFO.sub(f"{MASK}@", value)
    return value


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)


def _source(name: str) -> str:
    """Return where a valid setting comes from: the loading order of ``controller.settings``."""
    variable = f"CCO_{name.upper()}"
    if os.environ.get(variable):
        return variable
    path = config_path()
    if path.is_file():
        written = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if name in written:
            return str(path)
    if name not in Settings.model_fields:  # pragma: no cover  # show() passes fields only
        raise KeyError(name)
    return MODEL_VARIABLE if name == "model_base_url" and os.environ.get(MODEL_VARIABLE) else "default"


def _presence(path: Path) -> Cell:
    if "NAME" in path.parts:
        return Cell("")
    return Cell("yes", "good") if path.exists() else Cell("no", "dim")
