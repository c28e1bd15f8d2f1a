"""The state directory: made private, and given to whom it belongs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from controller.errors import Retryable, Terminal
from controller.settings import Settings
from controller.state_directory import RunDirectories, prepare_state_directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_is_made_with_its_parents_and_is_private(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "deep" / "state")
    prepare_state_directory(settings)
    prepare_state_directory(settings)
    assert mode(settings.state_dir) == 0o700


def test_one_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    prepare_state_directory(Settings(state_dir=tmp_path))
    assert mode(tmp_path) == 0o700


def test_instances_of_other_users_go_on_passing_through_it(tmp_path: Path) -> None:
    homes = tmp_path / "process" / "homes"
    homes.mkdir(parents=True)
    for homes_mode, before, after in ((0o700, 0o711, 0o700), (0o711, 0o711, 0o711), (0o711, 0o777, 0o711)):
        homes.chmod(homes_mode)
        tmp_path.chmod(before)
        prepare_state_directory(Settings(state_dir=tmp_path))
        assert mode(tmp_path) == after


def test_a_file_in_its_place_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(Terminal, match="CCO_STATE_DIR") as caught:
        prepare_state_directory(Settings(state_dir=tmp_path / "state"))
    assert caught.value.reason == "StateDirectoryUnusable"
    assert "File exists" in caught.value.message


def test_a_path_too_long_for_a_socket_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    with pytest.raises(Terminal, match="too long") as caught:
        prepare_state_directory(Settings(state_dir=deep))
    assert caught.value.reason == "StateDirectoryUnusable"
    assert not deep.exists()


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int, int]]:
    """Play root, as in the controller's container, and note what is given away."""
    given: list[tuple[Path, int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((path, uid, gid)))
    return given


def test_what_the_engine_made_for_root_goes_to_the_owner_of_the_repositories(
    tmp_path: Path, as_root: list[tuple[Path, int, int]]
) -> None:
    (tmp_path / "root").mkdir()
    owner = (tmp_path / "root").stat()
    settings = Settings(state_dir=tmp_path / "state", root=tmp_path / "root")
    prepare_state_directory(settings)
    assert as_root == [(settings.state_dir, owner.st_uid, owner.st_gid)]
    settings.database.touch()
    prepare_state_directory(settings)
    assert len(as_root) == 1, "one that is in use has an owner"


def test_a_root_that_is_not_there_is_told(tmp_path: Path, as_root: list[tuple[Path, int, int]]) -> None:
    with pytest.raises(Terminal, match="No such file"):
        prepare_state_directory(Settings(state_dir=tmp_path / "state", root=tmp_path / "nowhere"))
    assert as_root == []


def test_without_a_root_nothing_is_given_away(tmp_path: Path, as_root: list[tuple[Path, int, int]]) -> None:
    prepare_state_directory(Settings(state_dir=tmp_path / "state"))
    assert as_root == []


# The instances' folders ------------------------------------------------------------------------------------------


def test_an_instance_s_folder_goes_with_what_is_in_it(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    directories = RunDirectories(settings)
    run = directories.path("web")
    assert run == tmp_path / "instances" / "web" / "run"
    run.mkdir(parents=True)
    (run / "instance.json").touch()
    directories.remove("web")
    assert not settings.instance_dir("web").exists()
    directories.remove("web")


def test_a_folder_with_somebody_s_work_in_it_stays(tmp_path: Path) -> None:
    directories = RunDirectories(Settings(state_dir=tmp_path))
    (tmp_path / "instances" / "web" / "git").mkdir(parents=True)
    directories.path("web").mkdir()
    directories.remove("web")
    assert not directories.path("web").exists()
    assert (tmp_path / "instances" / "web" / "git").exists()


def test_a_folder_that_cannot_be_removed_is_told_and_tried_again(tmp_path: Path) -> None:
    directories = RunDirectories(Settings(state_dir=tmp_path))
    run = directories.path("web")
    run.parent.mkdir(parents=True)
    run.write_text("in the way")
    with pytest.raises(Retryable, match="web/run cannot be removed: Not a directory"):
        directories.remove("web")
    run.unlink()
    run.mkdir()
    directories.remove("web")
    assert not run.parent.exists()
