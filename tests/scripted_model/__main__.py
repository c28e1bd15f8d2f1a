"""`python -m scripted_model`: serve until SIGINT or SIGTERM. The work is in `server`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from .server import ScriptedModel


def main() -> int:
    """Run the server in the foreground; exit 0 when told to stop."""
    parser = argparse.ArgumentParser(prog="scripted_model", description="A scripted Anthropic model server.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8089, help="port to listen on, 0 for a free one")
    parser.add_argument("--log", type=Path, help="file that gets one JSON line per request")
    parser.add_argument("--pace", type=float, default=0.0, help="seconds between two words")
    options = parser.parse_args()
    stop = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    with ScriptedModel(options.host, options.port, log=options.log, pace=options.pace) as model:
        print(f"scripted model listens on {model.url}", flush=True)  # noqa: T201 - its one line of output
        signal.sigwait(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
