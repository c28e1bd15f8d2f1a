"""Ways out that hold for every way to run the system: in containers, or in a terminal with ``cco up``."""

from __future__ import annotations

from typing import Final

START: Final = "'cco up' or 'make up'"
SERVER_LOG: Final = "'docker compose logs server', or the terminal of 'cco up'"
CONTROLLER_LOG: Final = "'docker compose logs controller', or the terminal of 'cco up'"
