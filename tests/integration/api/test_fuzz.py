"""schemathesis against the real server process, with every check and phase: no accident, nothing undocumented.

Behind the server is a real controller over a fake engine, so that routes which ask it answer too, with real git: after
a run ``faults.verify`` judges what it has left behind (scenario 29 of docs/faults.md). A run is the same each time;
``FUZZ_SECONDS=600`` (``make fuzz``) makes it longer, with a seed of its own that the output tells.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from controller.resources.instance import display_state
from controller.resources.observed import WorkspaceStatus
from faults import facts
from faults.baseline import Baseline, record
from faults.facts import Engine, Facts, Repository, git_dir_of, read_repository
from faults.recorders import Quiet
from faults.verify import Measured, judge
from support.api_world import instance_manifest, repository_manifest
from support.deadline import eventually
from support.host_system import git, make_repository
from support.web_server import Server, start_server, stop_server

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
PROGRAM = HERE / "fuzz_controller.py"
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
RESYNC_SECONDS = 2.0
IDENTITY = ("-c", "user.name=An Agent", "-c", "user.email=agent@example.org")
SECONDS = int(os.environ.get("FUZZ_SECONDS", "0"))

pytestmark = pytest.mark.timeout(600 + 2 * SECONDS)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that is short enough for a socket, and the only part of the machine that repositories may lie in."""
    with tempfile.TemporaryDirectory(prefix="cco-fuzz-") as made:
        yield Path(made)


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    """Server and controller with a repository and an instance."""
    settings = {
        "CCO_ROOT": str(folder),
        "CCO_REQUESTS_PER_SECOND": "0",
        "CCO_RESYNC_SECONDS": f"{RESYNC_SECONDS:g}",
    }
    server = start_server(folder, None, **settings)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CCO_", "ANTHROPIC_"))}
    variables = {**settings, "CCO_STATE_DIR": str(server.state), "HOME": str(folder), "ANTHROPIC_API_KEY": "sk-ant-x"}
    with (folder / "controller.log").open("wb") as log:
        controller = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(folder / "changes"), "run"],
            env={**kept, **variables},
            cwd=folder,
            stderr=log,
        )
    try:
        eventually(lambda: server.client.health().controller.status == "ok", timeout=60, what="the controller answers")
        shop = make_repository(folder / "shop")
        server.client.create_repository(repository_manifest(path=str(shop)))
        server.client.create_instance(instance_manifest())
        yield server
    finally:
        controller.terminate()
        controller.wait(30)
        stop_server(server)
    for log_file in (server.log, folder / "controller.log"):
        text = log_file.read_text()
        assert " ERROR " not in text, text[-4000:]
        assert "Traceback" not in text, text[-4000:]


def fuzz(server: Server, folder: Path, *options: str, **environment: str) -> None:
    command = [
        str(SCHEMATHESIS),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", str(folder / "openapi.json"), "--url", server.url, "--no-color", "--warnings", "off"),
        *options,
    ]
    (folder / "openapi.json").write_bytes(openapi(server))
    done = subprocess.run(
        command,
        env={**os.environ, "FUZZ_HOOKS": str(HERE / "fuzz_hooks.py"), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=500 + 2 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-20_000:]}{done.stderr[-4000:]}"
    sys.stdout.write(done.stdout[-3000:])


def openapi(server: Server) -> bytes:
    """Return the document as a signed-in reader gets it."""
    return httpx.get(f"{server.url}/openapi.json", headers={"Authorization": f"Bearer {server.token}"}).content


def amount() -> list[str]:
    if SECONDS:
        return ["--max-time", str(SECONDS), "--seed", str(secrets.randbelow(10**6))]
    return ["--seed", "1"]


@pytest.fixture
def work(server: Server) -> Baseline:
    """What must survive a run: what was acknowledged, a commit that nobody has brought home, an uncommitted file."""

    def place() -> WorkspaceStatus | None:
        instance = server.client.get_instance("web")
        return instance.status.workspace if display_state(instance)[1] == "Ready" else None

    workspace = eventually(place, timeout=60, what="web is ready")
    assert workspace is not None
    worktree = Path(workspace.path)
    as_agent = (*IDENTITY, f"--git-dir={workspace.git_dir}", f"--work-tree={worktree}")
    (worktree / "work.txt").write_text("work\n")
    git(worktree, *as_agent, "add", "work.txt")
    git(worktree, *as_agent, "commit", "--quiet", "--message", "Work")
    (worktree / "draft.txt").write_text("half\n")
    made = record(look(server.state))
    assert git(worktree, *as_agent, "rev-parse", "HEAD") in made.commits[str(server.state.parent / "shop")]
    assert [draft.path for draft in made.drafts] == ["draft.txt"]
    return made


def look(state: Path) -> Facts:
    """Look at everything; a run registers folders that are no repositories, too: of those there is nothing to know."""

    def read(path: str) -> Repository:
        return read_repository(path) if (git_dir_of(path) / "HEAD").is_file() else Repository(path, {}, ())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(facts, "read_repository", read)
        found = facts.read_facts(state, Engine())
    return replace(found, repositories=tuple(each for each in found.repositories if each.refs))


def verify(server: Server, baseline: Baseline) -> None:
    """Judge the invariants, but those whose evidence only a real engine can give (I3, I4).

    In a run each of many wishes a minute is an attempt; that none is made any more without one is I8's part here, not
    I7's.
    """

    def holds() -> bool:
        with closing(Quiet(server.state / "state.db")) as quiet:
            writes = quiet.watch(1.5 * RESYNC_SECONDS)
        measured = Measured(writes=writes, watched="SQL watched over a resync")
        verdicts = judge(look(server.state), baseline, measured)
        wrong = [str(each) for each in verdicts if each.name not in {"I3", "I4", "I7"} and not each.holds]
        assert not wrong, "\n".join(wrong)
        return True

    eventually(holds, timeout=90, what="the invariants hold")


def test_nothing_that_is_sent_is_an_accident(server: Server, folder: Path, work: Baseline) -> None:
    fuzz(server, folder, "--header", f"Authorization: Bearer {server.token}", *amount())
    verify(server, work)


def test_nothing_is_answered_without_a_token(server: Server, folder: Path) -> None:
    phases = ("--phases", "examples,coverage,fuzzing", "--exclude-checks", "positive_data_acceptance,ignored_auth")
    fuzz(server, folder, *phases, *amount(), FUZZ_ANONYMOUS="1")
