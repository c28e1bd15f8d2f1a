"""What is written beside the database: enough to declare everything again, and nothing anybody else may read."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controller.errors import Fenced, Retryable
from controller.manifests import Manifests, Unreadable, label_text, read_label
from controller.resources import (
    Instance,
    InstanceStatus,
    Metadata,
    Repository,
    RepositorySpec,
    RepositoryStatus,
    WorkspaceStatus,
)
from controller.resources.instance import InstanceSpec
from controller.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
METADATA = Metadata(name="web", labels={"team": "a"}, uid="u-1", generation=4, resource_version=99, created_at=NOW)
SPEC = InstanceSpec(repository="shop", prompt="secret plan", env={"TOKEN": "sk-1", "MODE": "x"}, restart_generation=2)
PLACE = WorkspaceStatus(path="/srv/shop.worktrees/web", git_dir="/state/instances/web/git", branch="web", head="abc")
WEB = Instance(
    metadata=METADATA.model_copy(update={"deletion_requested_at": NOW, "discard_work": True}),
    spec=SPEC,
    status=InstanceStatus(attempt=3, restarted_generation=2, runtime="docker", workspace=PLACE, restarts=7),
)
SHOP = Repository(
    metadata=METADATA.model_copy(update={"name": "shop"}),
    spec=RepositorySpec(path="/srv/shop"),
    status=RepositoryStatus(default_branch="main"),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path)


@pytest.fixture
def manifests(settings: Settings) -> Manifests:
    return Manifests(settings)


def test_an_instance_is_read_as_it_was_declared(manifests: Manifests) -> None:
    manifests.remember(WEB)
    (found,) = manifests.instances()
    assert isinstance(found, Instance)
    assert found.spec == SPEC
    assert found.metadata == METADATA.model_copy(update={"resource_version": 0}), "and nobody asked to delete it"
    assert found.status.workspace == WorkspaceStatus(path=PLACE.path, git_dir=PLACE.git_dir, branch="web")
    assert (found.status.attempt, found.status.restarted_generation, found.status.runtime) == (3, 2, "docker")
    assert found.status.restarts == 0


def test_a_repository_is_read_as_it_was_declared(manifests: Manifests) -> None:
    manifests.remember(SHOP)
    (found,) = manifests.repositories()
    assert isinstance(found, Repository)
    assert (found.metadata.uid, found.spec, found.status) == ("u-1", SHOP.spec, RepositoryStatus())


def test_the_files_are_private(manifests: Manifests, tmp_path: Path) -> None:
    manifests.remember(WEB)
    manifests.remember(SHOP)
    files = [tmp_path / "instances" / "web" / "manifest.json", tmp_path / "repositories" / "shop.json"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    assert [stat.S_IMODE(file.parent.stat().st_mode) for file in files] == [0o700, 0o700]


def test_what_is_known_is_not_written_again(manifests: Manifests, tmp_path: Path) -> None:
    manifests.remember(WEB)
    file = tmp_path / "instances" / "web" / "manifest.json"
    before = file.stat()
    moved = PLACE.model_copy(update={"head": "def"})
    status = WEB.status.model_copy(update={"restarts": 8, "workspace": moved})
    manifests.remember(WEB.model_copy(update={"status": status}))
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    manifests.remember(WEB.model_copy(update={"status": status.model_copy(update={"attempt": 4})}))
    assert file.stat().st_ino != before.st_ino
    assert [path.name for path in file.parent.iterdir()] == ["manifest.json"]


def test_a_damaged_one_is_told_and_hides_no_other(manifests: Manifests, tmp_path: Path) -> None:
    manifests.remember(WEB)
    for name, text in {"empty": "", "cut": '{"kind": "Inst', "moved": WEB.model_dump_json()}.items():
        (tmp_path / "instances" / name).mkdir()
        (tmp_path / "instances" / name / "manifest.json").write_text(text)
    found = {
        entry.path.parent.name if isinstance(entry, Unreadable) else entry.metadata.name: entry
        for entry in manifests.instances()
    }
    assert isinstance(found.pop("web"), Instance)
    assert all(isinstance(entry, Unreadable) for entry in found.values())
    assert set(found) == {"cut", "empty", "moved"}


def test_what_is_forgotten_is_gone(manifests: Manifests) -> None:
    manifests.remember(WEB)
    manifests.forget_instance("web")
    manifests.forget_instance("web")
    assert list(manifests.instances()) == []
    manifests.remember(SHOP)
    manifests.forget_repository("shop")
    manifests.forget_repository("shop")
    assert list(manifests.repositories()) == []


def test_a_place_that_cannot_be_written_is_told(manifests: Manifests, tmp_path: Path) -> None:
    (tmp_path / "instances").touch()
    with pytest.raises(Retryable, match=r"manifest\.json cannot be written: (File exists|Not a directory)"):
        manifests.remember(WEB)


def test_a_file_that_cannot_be_removed_is_told(manifests: Manifests, tmp_path: Path) -> None:
    (tmp_path / "repositories" / "shop.json").mkdir(parents=True)
    (tmp_path / "instances" / "web" / "manifest.json").mkdir(parents=True)
    with pytest.raises(Retryable, match=r"shop\.json cannot be written"):
        manifests.forget_repository("shop")
    with pytest.raises(Retryable, match=r"manifest\.json cannot be written"):
        manifests.forget_instance("web")


def test_a_label_tells_everything_but_what_may_be_secret() -> None:
    text = label_text(WEB, "/srv/shop")
    assert "secret plan" not in text
    assert "sk-1" not in text
    told = read_label(text)
    assert told.repository_path == "/srv/shop"
    assert told.left_out == ("prompt", "env.TOKEN", "env.MODE")
    assert told.instance.spec == SPEC.model_copy(update={"prompt": None, "env": {}})
    assert told.instance.metadata.uid == "u-1"
    assert told.instance.status.attempt == 3


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"instance": 1, "repository_path": "", "left_out": []}'])
def test_a_label_that_tells_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_label(text)


def test_a_controller_that_was_overtaken_changes_no_file(manifests: Manifests, settings: Settings) -> None:
    manifests.remember(WEB)
    manifests.remember(SHOP)

    def overtaken() -> None:
        raise Fenced("Fenced", "another controller has taken over")

    old = Manifests(settings, overtaken)
    old.remember(WEB)  # is what the file says already, so there is nothing to ask
    renamed = SPEC.model_copy(update={"prompt": "another one"})
    acts: list[Callable[[], None]] = [
        lambda: old.remember(WEB.model_copy(update={"spec": renamed})),
        lambda: old.remember(SHOP.model_copy(update={"spec": RepositorySpec(path="/srv/other")})),
        lambda: old.forget_instance("web"),
        lambda: old.forget_repository("shop"),
    ]
    for act in acts:
        with pytest.raises(Fenced):
            act()
    assert [found.spec for found in manifests.instances() if isinstance(found, Instance)] == [SPEC]
    assert [found.spec for found in manifests.repositories() if isinstance(found, Repository)] == [SHOP.spec]
