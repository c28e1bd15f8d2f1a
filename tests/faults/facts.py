"""What the eight invariants are judged by: SQLite, Docker, the kernel and git, read directly, without the product.

Nothing of ``controller`` is imported here, on purpose: a mistake there must not be able to hide itself. From here
the story goes to ``invariants.py`` (the judgement) and ``verify.py`` (the program).
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LABEL = "cc-orchestrator."
INSTALLATION, UID, INSTANCE = f"{LABEL}installation", f"{LABEL}uid", f"{LABEL}instance"
NETWORK = f"{LABEL}network"
PROC = Path("/proc")
MARK = "CC_ORCHESTRATOR_WORKLOAD"
"""What every process of a workload carries in its environment where no engine is used."""
AGENT = b"start_agent.py"
COMMAND_SECONDS = 120
# Everything that a repository's or an agent's configuration could make git run is off.
SAFE_GIT = ("-c", "safe.directory=*", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


@dataclass(frozen=True, slots=True)
class Row:
    """An object of the database; ``spec`` and ``status`` are its JSON."""

    kind: str
    name: str
    uid: str
    generation: int
    deleting: bool
    spec: Mapping[str, Any]
    status: Mapping[str, Any]

    def condition(self, type_: str) -> Mapping[str, Any]:
        """Return one condition, empty when it was never set."""
        found: Iterable[Mapping[str, Any]] = self.status.get("conditions") or ()
        return next((each for each in found if each["type"] == type_), {})


@dataclass(frozen=True, slots=True)
class Happening:
    """An entry of the event log: ``count`` equal ones from ``first`` to ``last``."""

    uid: str
    name: str
    reason: str
    count: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Container:
    """A container, with what of it must not change when it is not ours."""

    id: str
    name: str
    state: str
    labels: Mapping[str, str]
    digest: str = ""

    @property
    def uid(self) -> str:
        return self.labels.get(UID, "")


@dataclass(frozen=True, slots=True)
class Thing:
    """A volume or a network."""

    name: str
    labels: Mapping[str, str]
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Worktree:
    """A worktree as its repository lists it."""

    path: str
    branch: str
    lock: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on the disk."""

    path: str
    refs: Mapping[str, str]
    worktrees: tuple[Worktree, ...]


@dataclass(frozen=True, slots=True)
class Engine:
    """Everything the engine has."""

    containers: tuple[Container, ...] = ()
    volumes: tuple[Thing, ...] = ()
    networks: tuple[Thing, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """One look at everything.

    Attributes:
        damage: what SQLite says of the file; empty when it is sound.
        buried: uid to whether somebody had asked for the deletion, of objects that are gone.
        folders: names of the instances' folders in the state directory.
    """

    state_dir: Path
    installation: str
    revision: int
    damage: str
    rows: tuple[Row, ...]
    buried: Mapping[str, bool]
    happenings: tuple[Happening, ...]
    folders: frozenset[str]
    repositories: tuple[Repository, ...] = ()
    engine: Engine = field(default_factory=Engine)

    def instances(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.kind == "Instance")

    def ours(self) -> tuple[Container, ...]:
        """Return the containers of this installation."""
        return tuple(each for each in self.engine.containers if each.labels.get(INSTALLATION) == self.installation)


def read_facts(state_dir: Path, engine: Engine | None = None) -> Facts:
    """Look at the database, the repositories it names, its processes, and the engine unless that was looked at."""
    with closing(sqlite3.connect(f"file:{state_dir / 'state.db'}?mode=ro", uri=True, timeout=10)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")  # one moment
        (installation, revision) = connection.execute("SELECT installation_id, revision FROM installation").fetchone()
        rows = tuple(_rows(connection))
        buried = {
            each["uid"]: bool(json.loads(each["object"])["metadata"].get("deletion_requested_at"))
            for each in connection.execute("SELECT uid, object FROM tombstones")
        }
        happenings = tuple(map(_happening, connection.execute("SELECT * FROM events ORDER BY id")))
        damage = _damage(connection)
    folder = state_dir / "instances"
    paths = [row.spec["path"] for row in rows if row.kind == "Repository"]
    engine = read_engine() if engine is None else engine
    processes = read_processes(state_dir, installation)
    return Facts(
        state_dir=state_dir,
        installation=installation,
        revision=revision,
        damage=damage,
        rows=rows,
        buried=buried,
        happenings=happenings,
        folders=frozenset(each.name for each in folder.iterdir()) if folder.is_dir() else frozenset(),
        repositories=tuple(read_repository(path) for path in paths if Path(path).is_dir()),
        engine=replace(
            engine,
            containers=engine.containers + processes.containers,
            volumes=engine.volumes + processes.volumes,
        ),
    )


def _rows(connection: sqlite3.Connection) -> Iterable[Row]:
    for kind, table in (("Instance", "instances"), ("Repository", "repositories")):
        for row in connection.execute(f"SELECT * FROM {table} ORDER BY name"):  # noqa: S608  # our two names
            yield Row(
                kind=kind,
                name=row["name"],
                uid=row["uid"],
                generation=row["generation"],
                deleting=row["deletion_requested_at"] is not None,
                spec=json.loads(row["spec"]),
                status=json.loads(row["status"]),
            )


def _damage(connection: sqlite3.Connection) -> str:
    (integrity,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if integrity != "ok":
        return str(integrity)
    dangling = connection.execute("PRAGMA foreign_key_check").fetchall()
    return f"{len(dangling)} rows refer to rows that are gone" if dangling else ""


def _happening(row: sqlite3.Row) -> Happening:
    return Happening(
        row["uid"], row["name"], row["reason"], row["occurrences"], _time(row["first_at"]), _time(row["last_at"])
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Docker -----------------------------------------------------------------------------------------------------------


def run(argv: Sequence[str], *, check: bool = True, stdin: bytes | None = None) -> bytes:
    """Run a program to its end and return what it wrote."""
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=COMMAND_SECONDS, check=False)
    if check and done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise RuntimeError(f"{' '.join(argv[:6])} ...: exit status {done.returncode}: {said}")
    return done.stdout


def read_engine() -> Engine:
    """Return all containers, volumes and networks, ours or not."""
    containers = _inspect("container", ["docker", "ps", "-aq", "--no-trunc"])
    volumes = _inspect("volume", ["docker", "volume", "ls", "-q"])
    networks = _inspect("network", ["docker", "network", "ls", "-q", "--no-trunc"])
    return Engine(
        tuple(map(_container, containers)),
        tuple(Thing(each["Name"], each.get("Labels") or {}, digest(each)) for each in volumes),
        tuple(Thing(each["Name"], each.get("Labels") or {}, _network_digest(each)) for each in networks),
    )


def _inspect(kind: str, listing: Sequence[str]) -> list[dict[str, Any]]:
    """Inspect what is listed; what vanishes in between was not there."""
    names = run(listing).decode().split()
    if not names:
        return []
    found: list[dict[str, Any]] = json.loads(run(["docker", kind, "inspect", *names], check=False) or b"[]")
    return found


def _container(raw: Mapping[str, Any]) -> Container:
    config = raw["Config"]
    stable = {key: raw[key] for key in ("Id", "Created", "Path", "Args", "Image", "Name", "HostConfig")}
    state = {key: raw["State"][key] for key in ("Status", "StartedAt")}
    return Container(
        id=raw["Id"],
        name=raw["Name"].removeprefix("/"),
        state=raw["State"]["Status"],
        labels=config.get("Labels") or {},
        digest=digest({**stable, **state, "Config": config}),
    )


def _network_digest(raw: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in raw.items() if key != "Containers"})


def digest(value: object) -> str:
    """Return a short hash of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


# Processes --------------------------------------------------------------------------------------------------------


def read_processes(state_dir: Path, installation: str) -> Engine:
    """Return what runs, or has a HOME, as processes of this machine: each agent is a container, each HOME a volume.

    A workload without a living process is an exited container; processes of no workload are containers of nobody.
    """
    homes = state_dir / "process" / "homes"
    records = _json_files(state_dir / "process" / "workloads", "*.workload")
    living = _living_below(homes)
    found = [each for record in records for each in _workload(record, living.pop(record["id"], []))]
    nobodys = {INSTALLATION: installation}
    found += [Container(str(pid), f"process {pid}", "running", nobodys) for pids in living.values() for pid, _ in pids]
    owners = _json_files(homes, "*/owner.json", names=True)
    volumes = [Thing(each["name"], {INSTALLATION: each["installation"], UID: each["uid"]}) for each in owners]
    return Engine(tuple(found), tuple(volumes))


def _workload(record: Mapping[str, Any], living: Sequence[tuple[int, bytes]]) -> Iterable[Container]:
    labels = {INSTALLATION: record["installation"], UID: record["uid"], INSTANCE: record["instance"]}
    agents = sum(AGENT in command for _, command in living)
    state = "running" if living else "exited"
    yield from [Container(record["id"], record["name"], state, labels)] * max(agents, 1)


def _living_below(homes: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Return pid and command line of every living process whose HOME lies below, by the workload it is marked with."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    for place in PROC.glob("[0-9]*") if homes.is_dir() else ():
        with suppress(OSError):  # it has ended, or is not ours to look at
            variables = (place / "environ").read_bytes().split(b"\0")
            environment = dict(each.partition(b"=")[::2] for each in variables)
            command = (place / "cmdline").read_bytes()
            mark = environment.get(MARK.encode())
            if mark and command and environment.get(b"HOME", b"").startswith(os.fsencode(homes) + b"/"):
                found.setdefault(mark.decode(), []).append((int(place.name), command))
    return found


def _json_files(folder: Path, pattern: str, *, names: bool = False) -> list[dict[str, Any]]:
    """Return what JSON files hold; with ``names`` also the name of the folder each lies in."""
    found = []
    for path in sorted(folder.glob(pattern)) if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            found.append(json.loads(path.read_bytes()) | ({"name": path.parent.name} if names else {}))
    return found


# Git --------------------------------------------------------------------------------------------------------------


def git(git_dir: str | Path, *arguments: str, check: bool = True, stdin: bytes | None = None) -> str:
    """Run git on a git directory, with nothing that could run anything else."""
    argv = ["git", *SAFE_GIT, f"--git-dir={git_dir}", *arguments]
    return run(argv, check=check, stdin=stdin).decode(errors="surrogateescape").removesuffix("\n")


def git_dir_of(path: str) -> Path:
    """Return a repository's git directory: its own, or itself where it is bare."""
    inner = Path(path) / ".git"
    return inner if inner.is_dir() else Path(path)


def read_repository(path: str) -> Repository:
    """Return a repository's refs and worktrees."""
    place = git_dir_of(path)
    lines = git(place, "for-each-ref", "--format=%(objectname) %(refname)").splitlines()
    refs = {name: commit for commit, _, name in (line.partition(" ") for line in lines)}
    return Repository(path, refs, tuple(_worktrees(place)))


def _worktrees(place: Path) -> Iterable[Worktree]:
    """Read the registrations as files: git fails on all of them where one is half-made."""
    folder = place / "worktrees"
    for admin in sorted(folder.iterdir()) if folder.is_dir() else ():
        head = _line(admin / "HEAD").removeprefix("ref: refs/heads/")
        yield Worktree(str(Path(_line(admin / "gitdir")).parent), head, _line(admin / "locked"))


def _line(path: Path) -> str:
    return path.read_text(errors="surrogateescape").strip() if path.is_file() else ""
