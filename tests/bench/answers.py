"""How fast the API answers: one instance, a list of a hundred, and one while others start.

Against a route of the same framework and server that answers with the same bytes and does nothing for it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.deadline import eventually
from support.host_system import ROOT, stop_process
from support.model_container import free_port

from .findings import Arm, Finding
from .intervals import bootstrap, median_ratio, percentile
from .load import Connection, rate
from .run import Run
from .single import main


def measure(run: Run) -> list[Finding]:
    """Measure rates in turn, then latencies while others start."""
    system = run.product.system
    token = (system.state_dir / "token").read_text().strip()
    paths = {"answers.one": f"/api/instances/{run.fleet[0]}", "answers.list": "/api/instances"}
    ours, theirs = ({key: Arm("/s") for key in paths} for _ in range(2))
    files = [_keep(run.directory / key, system.port, path, token) for key, path in paths.items()]
    with _bare_server(files) as port:
        for _ in range(run.options.pairs):
            for number, (key, path) in enumerate(paths.items()):
                ours[key].samples.append(rate(system.port, path, token, run.options.seconds))
                theirs[key].samples.append(rate(port, f"/{number}", token, run.options.seconds))
    found = [
        Finding(
            key, median_ratio(ours[key].samples, theirs[key].samples), {"api": ours[key], "bare route": theirs[key]}
        )
        for key in paths
    ]
    told = {key: f"{arm.samples[-1]:.0f} of {theirs[key].samples[-1]:.0f}" for key, arm in ours.items()}
    run.say(f"answers: {told} a second")
    return [*found, _busy(run, paths["answers.one"], token)]


def _keep(file: Path, port: int, path: str, token: str) -> str:
    connection = Connection(port, path, token)
    connection.send()
    file.write_bytes(connection.receive())
    connection.close()
    return str(file)


def _busy(run: Run, path: str, token: str) -> Finding:
    """Measure answers while the largest number of instances starts."""
    names = run.names(max(run.options.sizes), "busy")
    argv = [sys.executable, "-m", "bench.load", str(run.product.system.port), path, token]
    with subprocess.Popen(
        argv, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            run.product.start(names)
            told, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    run.product.delete(names)
    arm = Arm("ms", samples=json.loads(told))
    return Finding("answers.p99", bootstrap(arm.samples, lambda each: percentile(each, 0.99)), {"api": arm})


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}


@contextmanager
def _bare_server(files: list[str]) -> Iterator[int]:
    port = free_port("127.0.0.1")
    argv = [sys.executable, "-m", "bench.bare_route", str(port), *files]
    process = subprocess.Popen(argv, env=_environment(), stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        eventually(lambda: _keep(Path(files[0]), port, "/0", ""), timeout=60, what="the bare server answers")
        yield port
    finally:
        stop_process(process)


if __name__ == "__main__":
    main(measure)
