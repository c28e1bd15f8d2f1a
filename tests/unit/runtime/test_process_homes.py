"""HOME folders that do not want to go: deep ones, closed ones, and some that only a person can remove."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.errors import Retryable
from controller.runtime.process import homes as homes_module
from controller.runtime.process.homes import Homes, Owner
from controller.runtime.process.records import now
from controller.workspace.safe_files import remove_tree
from support.trees import nest

SOMEBODY = 65534
UID = "11111111-1111-4111-8111-111111111111"


def owner(instance: str = "web", uid: str = UID) -> Owner:
    return Owner("ours", instance, uid, now())


def test_a_home_may_nest_as_deep_as_its_instance_likes(tmp_path: Path) -> None:
    homes = Homes(tmp_path / "homes", "cco")
    homes.make(owner(), None)
    nest(homes.path("web", UID) / "home", 3000)
    homes.remove(owner())
    assert list((tmp_path / "homes").iterdir()) == []


def test_what_one_removal_left_is_in_no_other_s_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    homes = Homes(tmp_path / "homes", "cco")
    other = owner("api", "22222222-2222-4222-8222-222222222222")
    homes.make(owner(), None)
    homes.make(other, None)
    remove = remove_tree

    def stubborn(path: str) -> None:
        if "cco-web" in path:
            raise Retryable("RemovalFailed", f"rm: cannot remove '{path}/x': Operation not permitted")
        remove(path)

    monkeypatch.setattr(homes_module, "remove_tree", stubborn)
    for _ in range(3):
        with pytest.raises(Retryable, match=r"homes/\.cco-web.*; see to permissions") as caught:
            homes.remove(owner())
        assert caught.value.reason == "RemovalFailed"
    homes.remove(other)
    assert caplog.messages == ["remains of another HOME stay"]
    assert homes.all() == []
    monkeypatch.undo()
    homes.remove(owner())
    assert list((tmp_path / "homes").iterdir()) == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that a user who is not root can reach."""
    made = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(made, SOMEBODY, SOMEBODY)
    yield made
    shutil.rmtree(made)


_CLOSED = """
import os, sys
from pathlib import Path
from controller.runtime.process.homes import Homes, Owner
os.geteuid() or os.setuid(65534)
folder = Path(sys.argv[1])
homes, owner = Homes(folder, "cco"), Owner("ours", "web", sys.argv[2], "")
homes.make(owner, None)
module = homes.path("web", owner.uid) / "home" / "go" / "pkg" / "mod"
module.mkdir(parents=True)
(module / "source.go").touch(mode=0o444)
module.chmod(0o555)
module.parent.chmod(0o000)
homes.remove(owner)
print(list(folder.iterdir()))
"""


def test_folders_that_are_closed_to_their_owner_go(open_folder: Path) -> None:
    """Go's module cache for example, and not as root, who may do all."""
    command = [sys.executable, "-c", _CLOSED, str(open_folder), UID]
    # Another user may not write where coverage would be measured.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert (done.stdout, done.stderr) == ("[]\n", "")
