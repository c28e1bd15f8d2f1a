"""Whether the parts that run the system are installed here; the command line alone is a smaller installation."""

from __future__ import annotations

from importlib.util import find_spec

from .exit_codes import ExitCode
from .failures import Failure

PACKAGES = ("alembic", "docker", "fastapi", "git", "libtmux", "nicegui", "psutil", "sqlalchemy", "uvicorn")


def require_system() -> None:
    """Pass if they are.

    Raises:
        Failure: names what is missing, and how to get it.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise Failure(
            f"the parts that run the system are not installed here ({', '.join(missing)})",
            hint="pip install 'cc-orchestrator[server,agent]'",
            code=ExitCode.GENERAL,
        )
