"""The agent does not begin in a folder that Claude could not work in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.supervisor import _check_workdir

ROOT = Path(__file__).parents[3]


def test_a_folder_of_its_own_is_fine(tmp_path: Path) -> None:
    _check_workdir(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="check who may enter it"):
        _check_workdir(tmp_path / "gone")


def test_a_folder_below_a_closed_one_is_refused(tmp_path: Path) -> None:
    """As the container's user, who is not root: in a process of its own."""
    inner = tmp_path / "closed" / "worktree"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o000)
    code = f"import sys; sys.path[:0] = ['{ROOT}/containers']; from agent.supervisor import _check_workdir; "
    code += f"import os; os.geteuid() or os.setuid(65534); from pathlib import Path; _check_workdir(Path('{inner}'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    inner.parent.chmod(0o700)
    assert done.returncode == 1
    assert "cannot work in" in done.stderr
