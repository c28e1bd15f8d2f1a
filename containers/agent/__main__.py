"""`python -m agent run`: the container's main program. The work is in `supervisor`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .config import ConfigError, InstanceConfig, load
from .places import Places
from .supervisor import Supervisor

logger = logging.getLogger(__name__)

MISCONFIGURED = 78
"""Exit status (sysexits.h, EX_CONFIG)."""
CONFIG_TIMEOUT = 30.0


class _Fields(logging.Formatter):
    """One line per record, its bound fields at the end."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name[4:]: value for name, value in vars(record).items() if name.startswith("cco_")}
        text = super().format(record)
        return " ".join([text, *(f"{name}={value!r}" for name, value in fields.items())])


def main(arguments: list[str] | None = None) -> int:
    """Run the agent; returns the exit status."""
    options = _parser().parse_args(arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(_Fields("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=options.log_level.upper(), handlers=[handler])
    logging.getLogger("libtmux").setLevel(logging.WARNING)
    places = replace(
        Places(home=Path.home()), run=options.run_dir, secrets=options.secrets_dir, scratch=options.scratch_dir
    )
    try:
        places.prepare()
        config = wait_for_config(places.instance_file, options.config_timeout)
    except ConfigError as error:
        logger.error("configuration cannot be used: %s", error)  # noqa: TRY400 - for people
        return MISCONFIGURED
    except OSError as error:
        logger.error("a folder cannot be made: %s", error)  # noqa: TRY400 - for people
        return MISCONFIGURED
    os.environ.setdefault("SHELL", "/bin/bash")
    program = [options.claude, *(["--settings", str(options.claude_settings)] if options.claude_settings else [])]
    return asyncio.run(_run(config, places, program, options.usage))


def wait_for_config(path: Path, timeout: float) -> InstanceConfig:
    """The configuration, as soon as it is there.

    Raises:
        ConfigError: it cannot be used, or did not come in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return load(path)
        except FileNotFoundError:
            if time.monotonic() > deadline:
                raise ConfigError(f"{path} did not appear within {timeout:.0f} s") from None
        time.sleep(0.1)


async def _run(config: InstanceConfig, places: Places, program: Sequence[str], usage: str) -> int:
    supervisor = Supervisor(config, places, program, usage)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stop)
    logger.info("agent started", extra={"cco_instance": config.name, "cco_attempt": config.attempt})
    return await supervisor.run()


def _parser() -> argparse.ArgumentParser:
    defaults = Places(home=Path("/"))
    parser = argparse.ArgumentParser(prog="agent", description="Runs and watches Claude Code in an instance.")
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--run-dir", type=Path, default=defaults.run, help="the controller's folder")
    parser.add_argument("--secrets-dir", type=Path, default=defaults.secrets, help="a tmpfs for credentials")
    parser.add_argument("--scratch-dir", type=Path, default=defaults.scratch, help="a tmpfs for sockets")
    parser.add_argument("--claude", default="claude", help="Claude Code's program")
    parser.add_argument("--claude-settings", type=Path, help="settings with our hooks, where no image brings them")
    parser.add_argument(
        "--usage",
        default="cgroup",
        choices=["cgroup", "processes"],
        help="what to measure: this process's cgroup, or all processes below its parent",
    )
    parser.add_argument("--config-timeout", type=float, default=CONFIG_TIMEOUT, help="seconds")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser


if __name__ == "__main__":
    _status = main()
    logging.shutdown()
    # Not sys.exit: that would wait for a tmux client that hangs, and with it the container's end.
    os._exit(_status)
