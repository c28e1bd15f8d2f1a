"""``python -m controller.runtime.process.shutdown STATE_DIR``: end every workload of a state directory.

For ``make down``, after the controller has ended; it would start again what is stopped here, so its lock is taken.
Nothing is lost: work is in the worktrees and private git directories, conversations in the HOME folders, and all of
them stay.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from controller.errors import CcoError
from controller.leadership import take

from .environment import Environment
from .records import Records
from .runtime import ProcessRuntime

GRACE_SECONDS = 8.0
_AT_ONCE = 8


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code and prints how many workloads were ended."""
    parser = argparse.ArgumentParser(prog="python -m controller.runtime.process.shutdown")
    parser.add_argument("state_dir", type=Path)
    state_dir = parser.parse_args(arguments).state_dir
    root = state_dir / "process"
    if not (root / "workloads").is_dir():
        print(0)  # noqa: T201  # its answer
        return 0
    try:
        lock = take(state_dir, "stop it first, or it starts again what is stopped here")
        try:
            records = Records(root).all()
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                owners = {(record.installation, record.uid) for record in records}
                list(pool.map(lambda owner: _end(state_dir, root, *owner), owners))
        finally:
            lock.release()
    except CcoError as error:
        print(f"{error.reason}: {error.message}", file=sys.stderr)  # noqa: T201  # for a person
        return 1
    print(len(records))  # noqa: T201  # its answer
    return 0


def _end(state_dir: Path, root: Path, installation: str, uid: str) -> None:
    environment = Environment(state_dir=state_dir, image="")
    runtime = ProcessRuntime(root=root, installation=installation, prefix="cco", environment=environment)
    runtime.stop(uid, grace=GRACE_SECONDS)
    runtime.remove(uid)


if __name__ == "__main__":
    sys.exit(main())
