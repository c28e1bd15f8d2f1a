"""The controller as a process with an injector in it: ``python -m faults.child run``.

The environment says what goes wrong: ``TEST_FAULT`` (``MODE:K``, or empty to record only), ``TEST_FAULT_ROOT`` (only
files below it are counted) and ``TEST_FAULT_LOG`` (one line for each call).
"""

from __future__ import annotations

import os
import sys

from controller.__main__ import main

from .docker_seam import docker_watched
from .injector import Call, Fault, Injector, Mode, die_for_good
from .seams import installed


def parse(text: str) -> Fault | None:
    """Return the fault that ``MODE:K`` means."""
    mode, _, at = text.partition(":")
    return Fault(Mode(mode), int(at)) if mode else None


def run() -> int:
    """Run the product's own entry point, watched."""
    fault = parse(os.environ.get("TEST_FAULT", ""))
    log = os.open(os.environ["TEST_FAULT_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(call: Call) -> None:
        os.write(log, f"{call.seam}\t{call.what}\t{int(call.writes)}\n".encode())

    injector = Injector(fault, die=die_for_good, delay=3.0, note=note)
    with installed(injector, os.environ["TEST_FAULT_ROOT"]), docker_watched(injector):
        return main()


if __name__ == "__main__":
    sys.exit(run())
