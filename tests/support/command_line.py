"""Calling ``cco``: in this process for results, in one of its own for signals and pipes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from ui.cli.program import app

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from ui.cli.main import main; sys.argv[0] = 'cco'; main()"


class Cco:
    """The command line as a function."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> Result:
        """Run in this process, whatever the exit code."""
        return CliRunner().invoke(app, list(arguments), prog_name="cco", input=stdin)

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        """Run in this process, expect success, return standard output."""
        result = self(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.stdout

    def fails(self, code: int, *arguments: str, stdin: str | None = None) -> str:
        """Run in this process, expect the exit code and no traceback, return standard error."""
        result = self(*arguments, stdin=stdin)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-u", "-c", PROGRAM, *arguments],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
