"""``python -m bench.document [RESULT.json]``: put the table of a run into docs/performance.md, and say where it ran."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from .findings import as_markdown, read_json

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN = "<!-- Made by python -m bench.document from a run; not by hand. -->"
END = "<!-- End of what is made. -->"


def machine(about: dict[str, Any]) -> str:
    """Return a sentence on where and when it was measured."""
    of = about["machine"]
    load = ", ".join(f"{each:.1f}" for each in of["load_average"])
    return (
        f"Measured {about['began']} at commit {of['commit']}, in {about['seconds'] // 60} minutes: {of['processors']} "
        f"processors ({of['processor']}), {of['memory_gib']} GiB, Linux {of['kernel']}, Docker Engine {of['engine']}, "
        f"Python {of['python']}; {about['options']['pairs']} pairs; load average before it began {load}."
    )


def put(page: str, made: str) -> str:
    """Return the page with what is made in its place."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def main(result: str = ".cache/bench/RESULT.json") -> None:
    """Write the page."""
    findings, errors, about = read_json(Path(result))
    notes = [f"- {each.goal.text}: {note}" for each in findings for note in dict.fromkeys(each.notes)]
    made = "\n\n".join([machine(about), as_markdown(findings, errors), "\n".join(notes)]).rstrip()
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
