"""``cco snapshots`` over the real API and the controller's real socket; only git is a fake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from api.client import ApiError
from controller.errors import Unavailable
from controller.resources import Kind
from controller.resources.snapshot import RestoreRequest, Snapshot, SnapshotList
from support.command_line import Cco
from support.fake_workspaces import snapshot_of
from support.installation import Installation, wait_until
from ui.cli.commands.snapshots import complete_owner, complete_snapshot
from ui.cli.exit_codes import ExitCode
from ui.cli.invocation import Invocation


def deleted_with_work(installation: Installation, cco: Cco, shop: Path, name: str, work: str) -> Snapshot:
    """Let an instance be deleted that had uncommitted work; returns the newest snapshot."""
    installation.ready(name, branch=f"feature/{name}")
    installation.world.git.worktrees[f"{shop}.worktrees/{name}"].dirty = work
    cco.ok("delete", "instance", name)
    items = json.loads(cco.ok("snapshots", "list", "-o", "json"))["items"]
    return SnapshotList.model_validate({"items": items}).items[-1]


@pytest.fixture
def saved(installation: Installation, cco: Cco, shop: Path) -> Snapshot:
    return deleted_with_work(installation, cco, shop, "web", "half a thought")


def test_nothing_is_saved_yet(installation: Installation, cco: Cco, shop: Path) -> None:
    assert installation.address, shop
    result = cco("snapshots", "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No snapshots" in result.stderr
    assert json.loads(cco.ok("snapshot", "list", "-o", "json")) == {"kind": "List", "items": []}


def test_a_delete_names_the_command_that_brings_the_work_back(installation: Installation, cco: Cco, shop: Path) -> None:
    installation.ready("web")
    installation.world.git.worktrees[f"{shop}.worktrees/web"].dirty = "half a thought"
    text = cco.ok("delete", "instance", "web")
    command = f"cco snapshots restore {snapshot_of('half a thought')[:12]}"
    assert command in text
    assert "restored to branch restore/web-" in cco.ok(*command.split()[1:])


def test_lists(installation: Installation, cco: Cco, shop: Path, saved: Snapshot) -> None:
    other = deleted_with_work(installation, cco, shop, "api", "another thought")
    heading, first, second = cco.ok("snapshots", "list").splitlines()
    assert heading.split() == ["COMMIT", "INSTANCE", "REPOSITORY", "BRANCH", "FILES", "AGE", "MESSAGE"]
    assert first.split()[:5] == [saved.commit[:12], "web", "shop", "feature/web", "1"]
    assert second.split()[:2] == [other.commit[:12], "api"]
    assert saved.id in cco.ok("snapshots", "list", "-o", "wide")
    assert cco.ok("snapshots", "list", "-o", "name").splitlines() == [f"snapshot/{saved.id}", f"snapshot/{other.id}"]
    assert cco.ok("snapshots", "list", "--instance", "web", "-o", "name") == f"snapshot/{saved.id}\n"
    assert cco.ok("snapshots", "list", "--repository", "shop", "-o", "name").count("\n") == 2
    assert yaml.safe_load(cco.ok("snapshots", "list", "-o", "yaml"))["items"][0]["ref"] == (
        f"refs/cco/snapshots/web/{saved.id}"
    )
    assert "nope" in cco.fails(ExitCode.NOT_FOUND, "snapshots", "list", "--repository", "nope")


def test_a_repository_that_cannot_be_asked_hides_no_other(
    installation: Installation, cco: Cco, tmp_path: Path, saved: Snapshot
) -> None:
    installation.repository(tmp_path / "gone", "gone")
    del installation.world.git.repositories[str(tmp_path / "gone")]
    result = cco("snapshots", "list", "-o", "name")
    assert (result.exit_code, result.stdout) == (0, f"snapshot/{saved.id}\n")
    assert "repository gone could not be asked" in result.stderr
    assert "gone" in cco.fails(ExitCode.CONFLICT, "snapshots", "list", "--repository", "gone")


def test_a_repository_that_cannot_be_asked_is_not_one_without_snapshots(
    installation: Installation, cco: Cco, tmp_path: Path
) -> None:
    installation.repository(tmp_path / "gone", "gone")
    del installation.world.git.repositories[str(tmp_path / "gone")]
    error = cco.fails(ExitCode.UNAVAILABLE, "snapshots", "list")
    assert "repository gone could not be asked" in error
    assert "No snapshots" not in error


def test_shows(cco: Cco, saved: Snapshot) -> None:
    for words in (saved.id, saved.commit[:4], saved.commit, saved.ref, f"snapshot/{saved.id}"):
        text = cco.ok("snapshots", "show", words)
        assert saved.id in text
        assert "feature/web" in text
        assert "README.md" in text
        assert "half a thought" not in text
    assert "+half a thought" in cco.ok("snapshot", "show", saved.id, "--diff")
    data = json.loads(cco.ok("snapshots", "show", saved.id, "-o", "json"))
    assert data["changes"] == [{"status": "modified", "path": "README.md", "insertions": 1, "deletions": 1}]
    assert "diff" not in data
    assert yaml.safe_load(cco.ok("snapshots", "show", saved.id, "-d", "-o", "yaml"))["diff"].endswith("thought\n")
    assert cco.ok("snapshots", "show", saved.id, "-o", "name") == f"snapshot/{saved.id}\n"


@pytest.mark.parametrize("words", ["ffff", "web", "nope", "fff", "refs/cco/snapshots/web/x"])
def test_what_is_not_there_is_code_3_and_says_where_to_look(cco: Cco, saved: Snapshot, words: str) -> None:
    assert not saved.commit.startswith("fff")
    for verb in ("show", "restore"):
        error = cco.fails(ExitCode.NOT_FOUND, "snapshots", verb, words)
        assert f"there is no snapshot {words!r}" in error
        assert "cco snapshots list" in error
    assert "--instance web" in cco.fails(ExitCode.NOT_FOUND, "snapshots", "show", "web")


def test_a_beginning_of_two_is_refused(installation: Installation, cco: Cco, shop: Path, saved: Snapshot) -> None:
    number = next(each for each in range(10**6) if snapshot_of(f"{each}")[:4] == saved.commit[:4])
    other = deleted_with_work(installation, cco, shop, "api", f"{number}")
    error = cco.fails(ExitCode.CONFLICT, "snapshots", "show", saved.commit[:4])
    assert saved.id in error
    assert other.id in error
    assert other.id in cco.ok("snapshots", "show", saved.commit[:4], "--instance", "api")


def test_restores_to_a_branch_once(installation: Installation, cco: Cco, shop: Path, saved: Snapshot) -> None:
    branch = f"restore/web-{saved.taken_at:%Y%m%dT%H%M%SZ}"
    text = cco.ok("snapshots", "restore", saved.commit[:8])
    assert f"restored to branch {branch} (1 file)" in text
    assert f"git -C '{shop}' switch {branch}" in text
    assert branch in cco.fails(ExitCode.CONFLICT, "snapshots", "restore", saved.commit[:8])
    named = json.loads(cco.ok("snapshots", "restore", saved.id, "--branch", "mine", "-o", "json"))
    assert (named["branch"], named["snapshot"]["id"]) == ("mine", saved.id)
    assert "snapshot/" in cco.ok("snapshots", "restore", saved.id, "-b", "again", "-o", "name")
    (event, *_) = [each for each in installation.store.events.list() if each.reason == "SnapshotRestored"]
    assert (event.kind, event.name) == (Kind.REPOSITORY, "shop")


def test_restores_to_a_folder_named_from_here(
    installation: Installation, cco: Cco, tmp_path: Path, saved: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = cco.ok("snapshots", "restore", saved.id, "--to", "shop/../again")
    assert f"restored to {tmp_path}/again" in text
    assert "switch -c BRANCH" in text
    assert installation.world.git.folders == {f"{tmp_path}/again": "half a thought"}
    assert "exists already" in cco.fails(ExitCode.CONFLICT, "snapshots", "restore", saved.id, "--to", "again")


def test_restores_into_an_instance_that_rests(
    installation: Installation, cco: Cco, shop: Path, saved: Snapshot
) -> None:
    installation.ready("web", branch="feature/web")
    agent = installation.world.agents.of(installation.world.get("web").metadata.uid)
    agent.state = "working"
    wait_until(lambda: "is working" in cco.ok("why", "web") or "RUNNING" in cco.ok("get", "instance", "web"))
    words = ("snapshots", "restore", saved.id, "--into", "web")
    error = cco.fails(ExitCode.CONFLICT, *words)
    assert "Claude is at work in instance 'web'" in error
    assert "cco instance suspend web" in error
    agent.state, agent.waiting_for = "waiting", "permission prompt"
    wait_until(lambda: "WAITING" in cco.ok("get", "instance", "web"))
    error = cco.fails(ExitCode.CONFLICT, *words)
    assert "Claude waits for an answer in instance 'web': give it ('cco attach web'), or suspend it" in error
    cco.ok("instance", "suspend", "web")
    text = cco.ok(*words)
    assert "restored into instance/web (1 file)" in text
    assert installation.world.git.worktrees[f"{shop}.worktrees/web"].dirty == "half a thought"
    assert "has everything of snapshot" in cco.ok(*words)
    installation.world.git.worktrees[f"{shop}.worktrees/web"].dirty = "something else"
    assert "nothing was changed" in cco.fails(ExitCode.CONFLICT, *words)
    assert "SnapshotRestored" in [each.reason for each in installation.store.events.list(name="web")]


def test_an_idle_instance_takes_files_and_one_of_another_repository_does_not(
    installation: Installation, cco: Cco, tmp_path: Path, saved: Snapshot
) -> None:
    installation.ready("web", branch="feature/web")
    wait_until(lambda: "IDLE" in cco.ok("get", "instance", "web"))
    assert "restored into instance/web" in cco.ok("snapshots", "restore", saved.id, "--into", "web")
    installation.repository(tmp_path / "other", "other")
    installation.ready("stranger", repository="other")
    error = cco.fails(ExitCode.CONFLICT, "snapshots", "restore", saved.id, "--into", "stranger")
    assert "belongs to repository 'other'" in error
    assert "nope" in cco.fails(ExitCode.NOT_FOUND, "snapshots", "restore", saved.id, "--into", "nope")


def test_an_instance_that_is_being_deleted_takes_nothing(installation: Installation, cco: Cco, saved: Snapshot) -> None:
    installation.ready("web", branch="feature/web")
    installation.resting = True
    cco.ok("delete", "instance", "web", "--no-wait")
    assert "being deleted" in cco.fails(ExitCode.CONFLICT, "snapshots", "restore", saved.id, "--into", "web")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--branch", "a b"), "not a branch name"),
        (("--into", "Web"), "not a valid name"),
        (("--branch", "x", "--to", "y"), "only one of"),
        (("--to", "x", "--into", "y"), "only one of"),
    ],
)
def test_what_cannot_be_is_refused_at_once(cco: Cco, saved: Snapshot, options: tuple[str, ...], word: str) -> None:
    assert word in " ".join(cco.fails(ExitCode.USAGE, "snapshots", "restore", saved.id, *options).split())


def test_a_folder_in_a_worktree_of_an_instance_is_refused(
    installation: Installation, cco: Cco, shop: Path, saved: Snapshot
) -> None:
    installation.ready("api")
    place = f"{shop}.worktrees/api/inside"
    error = cco.fails(ExitCode.CONFLICT, "snapshots", "restore", saved.id, "--to", place)
    assert "lies in the worktree of instance 'api'" in error


def test_the_api_refuses_what_it_cannot_do(installation: Installation, saved: Snapshot) -> None:
    assert installation.address
    with Invocation().client() as client:
        for repository, identity in (("nope", saved.id), ("shop", "nope"), ("shop", "a b/c")):
            with pytest.raises(ApiError) as caught:
                client.get_snapshot(repository, identity)
            assert caught.value.status == 404
        with pytest.raises(ApiError) as caught:
            client.restore_snapshot("shop", saved.id, RestoreRequest(), instance="api")
        assert (caught.value.status, caught.value.reason) == (404, "SnapshotNotFound")


def test_git_that_does_not_answer_is_unavailable(
    installation: Installation, cco: Cco, saved: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.resting = True
    installation.world.git.fail_next("show_snapshot", Unavailable("GitTimeout", "the disk does not answer"))
    assert "the disk does not answer" in cco.fails(ExitCode.UNAVAILABLE, "snapshots", "show", saved.id)
    del monkeypatch


# httpcore leaves the socket of a refused connection to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_without_a_controller_it_says_so(installation: Installation, cco: Cco, saved: Snapshot) -> None:
    installation.stop_streams()
    for words in (("list",), ("show", saved.id), ("restore", saved.id)):
        assert "controller" in cco.fails(ExitCode.UNAVAILABLE, "snapshots", *words)


class _Context:
    """As much of a shell's context as completion uses."""

    obj = None

    def find_root(self) -> _Context:
        return self


def test_completion(saved: Snapshot) -> None:
    context = _Context()
    assert complete_snapshot(context, "") == [saved.commit[:12]]  # type: ignore[arg-type]  # see _Context
    assert complete_snapshot(context, saved.id[:5]) == [saved.id]  # type: ignore[arg-type]  # as above
    assert complete_owner(context, "w") == ["web"]  # type: ignore[arg-type]  # as above
    assert complete_owner(context, "x") == []  # type: ignore[arg-type]  # as above
