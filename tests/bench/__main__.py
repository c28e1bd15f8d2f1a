"""``make bench``: measure everything, or ``ONLY`` some of it; the table on standard output, all samples as JSON.

PYTHONPATH=tests:. python -m bench [--only start,death] [--quick] [RESULT.json]
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from .findings import Finding, as_text, write_json
from .goals import MEASURES
from .processes import about_machine
from .run import Run
from .single import Stopped, add_options, options_from, stop_at_signals

LONGEST_SECONDS = 25 * 60
RESULT = Path(".cache/bench/RESULT.json")


def main() -> int:
    """Return 0, 1 when a goal is missed, 2 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("result", nargs="?", type=Path, default=RESULT)
    parser.add_argument("--only", type=lambda text: text.replace(",", " ").split(), help=f"some of {MEASURES}")
    add_options(parser)
    arguments = parser.parse_args()
    wanted = arguments.only or MEASURES
    if unknown := set(wanted) - set(MEASURES):
        parser.error(f"no measure {', '.join(sorted(unknown))}; there is: {', '.join(MEASURES)}")
    options = options_from(arguments)
    about: dict[str, object] = {"began": datetime.now(UTC).isoformat(timespec="seconds"), "machine": about_machine()}
    findings: list[Finding] = []
    errors: dict[str, str] = {}
    began = time.monotonic()
    stop_at_signals(LONGEST_SECONDS)
    try:
        with Run(options) as run:
            for name in (each for each in MEASURES if each in wanted):
                run.say(f"== {name}")
                try:
                    findings += importlib.import_module(f"{__package__}.{name}").measure(run)
                except Exception as error:  # noqa: BLE001  # the others can be measured all the same
                    errors[name] = f"{type(error).__name__}: {error}".splitlines()[0]
                    run.say(f"{name} failed: {error}")
    except Stopped as stopped:
        errors.update({name: f"stopped ({stopped})" for name in wanted if not _measured(name, findings)})
    about["seconds"] = round(time.monotonic() - began)
    about["options"] = {key: str(value) for key, value in vars_of(options).items()}
    write_json(arguments.result, findings, errors, about)
    sys.stdout.write(f"{as_text(findings, errors)}\n{arguments.result}: all samples\n")
    if errors:
        return 2
    return int(any(finding.verdict == "missed" for finding in findings))


def vars_of(options: object) -> dict[str, object]:
    """Return the fields of the options."""
    return {name: getattr(options, name) for name in options.__dataclass_fields__}  # type: ignore[attr-defined]  # a dataclass


def _measured(name: str, findings: list[Finding]) -> bool:
    return any(finding.goal.module == name for finding in findings)


if __name__ == "__main__":
    sys.exit(main())
