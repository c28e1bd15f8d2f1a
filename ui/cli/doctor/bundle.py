"""``--bundle``: what a stranger needs to understand a problem, and nothing that is only its user's.

Prompts, transcripts, the contents of worktrees and the values of variables are not collected at all. Everything else
goes through the redactor, which knows the secrets of this machine by value before the first part is written.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.client import ApiError, Client, ClientError
from controller.errors import CcoError
from controller.resources import Instance, Repository
from controller.resources.check import Check
from ui.cli.commands.config import masked
from ui.cli.failures import Failure
from ui.cli.release import release
from ui.cli.rendering.checks import render_checks, render_summary
from ui.cli.rendering.terminal import Terminal

from .archive import Archive
from .parts import container_data, environment_of, instance_data, repository_data
from .programs import run_program
from .redaction import Redactor
from .secrets import LONG_VALUE, learn_environment, learn_files, learn_texts, learn_user_content, read_start
from .visit import Visit

if TYPE_CHECKING:
    from controller.settings import Settings
    from ui.cli.invocation import Invocation

PARTS = (
    "README.txt",
    "doctor.json",
    "doctor.txt",
    "versions.json",
    "machine.json",
    "settings.json",
    "instances.json",
    "repositories.json",
    "events.json",
    "logs/server.recent.log",
    "logs/controller.recent.log",
    "logs/instances/NAME.log",
    "docker/info.json",
    "docker/containers.json",
    "logs/containers/NAME.log",
)
"""Everything that can be in one."""
LOG_LINES = 2000
ENGINE_RUNTIME = "docker"
EVENTS = 500
MAX_INSTANCES = 100
MAX_CONTAINERS = 200
_LOG_SECONDS = 20.0
_INSTALLATION_LABEL = "cc-orchestrator.installation"
_SYSTEM_LABEL = "cc-orchestrator.system"

_ABOUT = """\
A support bundle of cc-orchestrator, made by 'cco doctor --bundle' at {at}.

Not in it, on purpose: prompts, inputs, transcripts and other conversation with Claude, the contents of worktrees and
repositories, values of environment variables and extra arguments of instances, credentials, the API token.
Secrets that a program may have printed all the same were replaced by [REDACTED]: those known on this machine by their
value, others by what they look like. Values and arguments under {least} characters, unless their name says that they
are secret, may stand where a program printed them (logs, events). Names of instances, branches, paths and
repositories are in it. Look through it before you hand it on.

In it:
{parts}
{missing}"""


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle that was written.

    Attributes:
        missing: what is not in it although it would have been, and why.
    """

    path: Path
    parts: tuple[str, ...]
    missing: Mapping[str, str]

    @property
    def sentence(self) -> str:
        """One sentence for people."""
        lacking = f"; not in it: {', '.join(self.missing)} (README.txt says why)" if self.missing else ""
        return f"{len(self.parts)} parts, without secrets or prompts; look through it before you hand it on{lacking}"


def write_bundle(cli: Invocation, visit: Visit, checks: Sequence[Check], path: Path) -> Written:
    """Write the archive; works with whatever answers.

    Raises:
        Failure: there is a file of that name already.
        OSError: it cannot be written.
    """
    redact = Redactor()
    with Archive(path, redact) as archive:
        collected = _Collector(cli, visit, archive, redact)
        collected.learn()
        collected.write(checks)
    return Written(path, tuple(archive.parts), archive.missing)


class _Collector:
    """Gathers one bundle."""

    def __init__(self, cli: Invocation, visit: Visit, archive: Archive, redact: Redactor) -> None:
        self._cli = cli
        self._visit = visit
        self._archive = archive
        self._redact = redact
        self._instances: list[Instance] = []
        self._repositories: list[Repository] = []
        self._containers: list[Mapping[str, Any]] = []

    # What must not get in -----------------------------------------------------------------------------------

    def learn(self) -> None:
        """Find the secrets that can be known by value, before anything is written."""
        settings = self._visit.settings
        learn_environment(self._redact)
        if settings is not None:
            learn_files(self._redact, self._cli, settings)
        self._containers = list(self._find_containers(settings))
        for container in self._containers:
            self._redact.learn_environment(environment_of(container))
        if self._visit.answered is None:
            return
        try:
            with self._cli.client() as client:
                self._instances = client.list_instances()
                self._repositories = client.list_repositories()
                learn_user_content(self._redact, self._instances, self._repositories)
                for each in self._instances[:MAX_INSTANCES]:
                    with contextlib.suppress(ApiError):  # deleted meanwhile
                        learn_texts(self._redact, (given.text for given in client.list_inputs(each.metadata.name)))
        except (ClientError, CcoError, Failure) as error:
            self._archive.lack("instances.json", str(error))

    # What gets in -------------------------------------------------------------------------------------------

    def write(self, checks: Sequence[Check]) -> None:
        """Write every part that can be had, and at last what they are."""
        archive = self._archive
        archive.add_json("doctor.json", [check.model_dump(mode="json", exclude_none=True) for check in checks])
        archive.add("doctor.txt", _as_text(checks))
        archive.add_json("versions.json", self._versions())
        archive.add_json("machine.json", _machine(self._visit.settings))
        self._settings()
        if self._visit.answered is None:
            for name in PARTS[PARTS.index("instances.json") : PARTS.index("docker/info.json")]:
                archive.lack(name, "the server did not answer: see doctor.txt")
        else:
            self._objects()
        self._docker()
        parts = "\n".join(f"  {name}" for name in archive.parts)
        missing = "\n".join(f"  {name}: {why}" for name, why in archive.missing.items())
        at = datetime.now(UTC).isoformat(timespec="seconds")
        because = f"\nNot in it, because:\n{missing}\n" if missing else ""
        text = _ABOUT.format(at=at, least=LONG_VALUE, parts=parts, missing=because)
        archive.add("README.txt", text)

    def _versions(self) -> dict[str, Any]:
        answer = self._visit.answered
        commands = {
            "git": ("git", "version"),
            "tmux": ("tmux", "-V"),
            "docker": ("docker", "version"),
            "docker compose": ("docker", "compose", "version"),
            "docker buildx": ("docker", "buildx", "version"),
        }
        found = {name: run_program(*argv) for name, argv in commands.items()}
        return {
            "client": release(),
            "server": answer.version.version if answer is not None else None,
            "controller": answer.diagnosis.version if answer is not None else None,
            "installation": answer.version.installation if answer is not None else None,
            "python": platform.python_version(),
            "system": platform.platform(),
            "programs": {
                name: done.stdout.strip().splitlines() if done is not None else None for name, done in found.items()
            },
        }

    def _settings(self) -> None:
        settings = self._visit.settings
        if settings is None:
            self._archive.lack("settings.json", "the configuration is not valid: see doctor.txt")
            return
        values = {name: masked(name, value) for name, value in settings.model_dump(mode="json").items()}
        self._archive.add_json("settings.json", values)

    def _objects(self) -> None:
        archive = self._archive
        archive.add_json("instances.json", [instance_data(each) for each in self._instances])
        archive.add_json("repositories.json", [repository_data(each) for each in self._repositories])
        try:
            with self._cli.client() as client:
                archive.add_json("events.json", [each.model_dump(mode="json") for each in client.events(limit=EVENTS)])
                self._recent_logs(client)
                self._instance_logs(client)
        except (ClientError, CcoError, Failure) as error:
            archive.lack("events.json", str(error))

    def _recent_logs(self, client: Client) -> None:
        logs = client.recent_logs()
        if logs.server and logs.controller and set(logs.controller.splitlines()) <= set(logs.server.splitlines()):
            why = "server and controller are one process: see logs/server.recent.log"
            self._archive.lack("logs/controller.recent.log", why)
            self._archive.add("logs/server.recent.log", logs.server)
            return
        for name, text in (("server", logs.server), ("controller", logs.controller)):
            if text is None:
                self._archive.lack(f"logs/{name}.recent.log", f"the {name} did not answer")
            else:
                self._archive.add(f"logs/{name}.recent.log", text)

    def _instance_logs(self, client: Client) -> None:
        """Add what those instances printed that no engine can be asked about."""
        for each in self._instances[:MAX_INSTANCES]:
            if each.status.runtime in {None, ENGINE_RUNTIME}:
                continue
            name = f"logs/instances/{each.metadata.name}.log"
            try:
                self._archive.add(name, client.instance_logs(each.metadata.name, LOG_LINES))
            except ApiError as error:
                self._archive.lack(name, str(error))

    def _docker(self) -> None:
        info = run_program("docker", "info", "--format", "{{json .}}")
        if info is None or not info.stdout.strip():
            self._archive.lack("docker/info.json", "docker is not on this machine, or did not answer in time")
            self._archive.lack("docker/containers.json", "likewise")
            return
        self._archive.add("docker/info.json", info.stdout)
        if info.returncode != 0:
            self._archive.lack("docker/containers.json", info.stderr or "no engine answers")
            return
        self._archive.add_json("docker/containers.json", [container_data(each) for each in self._containers])
        for container in self._containers:
            name = str(container.get("Name", "")).lstrip("/") or "unnamed"
            done = run_program(
                "docker", "logs", "--timestamps", f"--tail={LOG_LINES}", str(container["Id"]), seconds=_LOG_SECONDS
            )
            if done is None:
                self._archive.lack(f"logs/containers/{name}.log", "docker did not answer in time")
            else:
                self._archive.add(f"logs/containers/{name}.log", f"{done.stdout}{done.stderr}")

    def _find_containers(self, settings: Settings | None) -> Iterator[Mapping[str, Any]]:
        """Return what the engine says of the containers of this installation, and of the composed system."""
        answer = self._visit.answered
        installation = answer.version.installation if answer is not None else _installation(settings)
        filters = [f"label={_SYSTEM_LABEL}"]
        if installation is not None:
            filters.append(f"label={_INSTALLATION_LABEL}={installation}")
        identifiers: dict[str, None] = {}
        for each in filters:
            listed = run_program("docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", each)
            if listed is not None and listed.returncode == 0:
                identifiers.update(dict.fromkeys(listed.stdout.split()))
        if not identifiers:
            return
        wanted = list(identifiers)[:MAX_CONTAINERS]
        done = run_program("docker", "inspect", "--type=container", *wanted, seconds=_LOG_SECONDS)
        try:
            found = json.loads(done.stdout) if done is not None else ()
        except ValueError:
            return
        yield from (each for each in found if _is_ours(each, settings))


def _is_ours(container: Mapping[str, Any], settings: Settings | None) -> bool:
    """Tell whether it belongs to this installation: other ones may have a composed system on the same engine."""
    labels = (container.get("Config") or {}).get("Labels") or {}
    if _INSTALLATION_LABEL in labels:
        return True
    sources = {mount.get("Source") for mount in container.get("Mounts") or ()}
    return settings is not None and str(settings.state_dir) in sources


def _installation(settings: Settings | None) -> str | None:
    return None if settings is None else read_start(settings.state_dir / "installation") or None


def _as_text(checks: Sequence[Check]) -> str:
    terminal = Terminal(stream=io.StringIO(), interactive=False, color=False, width=120)
    return "\n".join([*render_checks(checks, terminal), "", render_summary(checks, terminal), ""])


def _machine(settings: Settings | None) -> dict[str, Any]:
    """Return facts on memory, load and disks of this machine."""
    memory = {}
    for line in read_start(Path("/proc/meminfo")).splitlines():
        name, _, value = line.partition(":")
        if name in {"MemTotal", "MemAvailable", "SwapTotal", "SwapFree"}:
            memory[name] = value.strip()
    places = [Path("/"), Path("/tmp")]  # noqa: S108  # only looked at
    if settings is not None:
        places += [settings.state_dir, *([settings.worktree_base_path] if settings.worktree_base_path else [])]
    disks = {}
    for path in places:
        if path.exists():
            usage, inodes = shutil.disk_usage(path), os.statvfs(path)
            disks[str(path)] = {
                "total": usage.total,
                "free": usage.free,
                "inodes": inodes.f_files,
                "inodes_free": inodes.f_favail,
            }
    return {"cpus": os.cpu_count(), "load": os.getloadavg(), "memory": memory, "disks": disks}
