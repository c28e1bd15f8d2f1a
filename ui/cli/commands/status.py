"""``status``: is everything well? Parts first, then the fleet in numbers."""

from __future__ import annotations

from collections import Counter

import typer

from api.client import Health, Version
from controller.resources import ConditionStatus, DisplayState, Instance, Repository, display_state, find_condition
from controller.resources.explain import explain
from ui.cli.exit_codes import ExitCode
from ui.cli.invocation import Invocation
from ui.cli.options import Output, OutputOption
from ui.cli.rendering.columns import STATE_STYLES
from ui.cli.rendering.humanize import count, percent, quantity
from ui.cli.rendering.serial import to_json, to_yaml
from ui.cli.rendering.table import Cell, pairs
from ui.cli.rendering.terminal import Terminal, safe

ENGINE_AWAY = "RuntimeUnavailable"
_ATTENTION = (DisplayState.ERROR, DisplayState.UNKNOWN, DisplayState.WAITING)


def status(cli: Invocation, *, output: OutputOption = Output.TABLE) -> None:
    """Show the fleet and the health of server, controller and engine.

    Exit code 6 when the server, the controller or the engine does not answer.
    """
    with cli.client() as client:
        health = client.health()
        version = client.version()
        instances = client.list_instances()
        repositories = client.list_repositories()
        address = client.base_url
    states = Counter(display_state(instance)[0] for instance in instances)
    if output in {Output.JSON, Output.YAML}:
        data = {
            "server": address,
            "version": version.version,
            "installation": version.installation,
            "health": health.model_dump(mode="json"),
            "instances": {str(state): states[state] for state in DisplayState if states[state]},
            "repositories": len(repositories),
        }
        cli.out.line(to_json(data) if output is Output.JSON else to_yaml(data))
    else:
        parts = _parts(address, version, health, instances, cli.out)
        cli.out.line("\n".join([*parts, *_fleet(instances, repositories, states, cli.out)]))
    if health.status != "ok":
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _parts(address: str, version: Version, health: Health, instances: list[Instance], terminal: Terminal) -> list[str]:
    rows: list[tuple[str, Cell | str]] = [("server", Cell(f"ok at {address}, version {version.version}", "good"))]
    for name, part in health:
        if name == "status" or part is None:  # the sum of the others; a part that is not needed, or not known of
            continue
        text = f"{part.status}: {part.detail}" if part.detail else part.status
        rows.append((name, Cell(text, "good" if part.status == "ok" else "bad")))
    if all(name != "engine" for name, _ in rows):
        rows.append(("engine", _engine(instances)))
    return pairs(rows, terminal)


def _engine(instances: list[Instance]) -> Cell:
    """Return what is stored of the controller's newest looks at the engine, where it cannot be asked itself."""
    looks = [find_condition(instance.status.conditions, "Ready") for instance in instances]
    failed = next((look for look in looks if look is not None and look.reason == ENGINE_AWAY), None)
    if failed is not None:
        return Cell(f"unavailable: {failed.message}", "bad")
    if not any(looks):
        return Cell("not looked at: there is no instance", "dim")
    return Cell("ok", "good")


def _fleet(
    instances: list[Instance], repositories: list[Repository], states: Counter[DisplayState], terminal: Terminal
) -> list[str]:
    words = [terminal.style(f"{states[state]} {state}", STATE_STYLES[state]) for state in DisplayState if states[state]]
    usage = [instance.status.usage for instance in instances if instance.status.usage is not None]
    lines = [
        "",
        f"{count(len(instances), 'instance')} of {count(len(repositories), 'repository', 'repositories')}"
        + (f": {', '.join(words)}" if words else ""),
    ]
    if usage:
        cpu, memory = sum(each.cpu_percent for each in usage), sum(each.memory_bytes for each in usage)
        lines.append(f"using {percent(cpu)} of one core and {quantity(memory)} of memory")
    attention = [instance for instance in instances if display_state(instance)[0] in _ATTENTION]
    lines += [safe(f"  {explain(instance)}") for instance in attention]
    for repository in repositories:
        ready = find_condition(repository.status.conditions, "Ready")
        if ready is not None and ready.status is ConditionStatus.FALSE:
            lines.append(safe(f"  repository {repository.metadata.name} ({ready.reason}): {ready.message}"))
    return lines
