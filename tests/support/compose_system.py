"""The product as users run it: ``docker compose up`` with the shipped file, in a project of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from testcontainers.compose import DockerCompose

from .host_system import KEY, ROOT, System, environment_for
from .model_container import Model, free_port

FILES = ["compose.yaml", "tests/support/compose.images.yaml"]
USER = 1000


@contextmanager
def running_compose(directory: Path, prefix: str, model: Model) -> Iterator[System]:
    """Run the compose stack for the length of the block; repositories lie in ``directory``, which is its root."""
    system = System(directory, prefix, free_port("127.0.0.1"), model, {})
    system.environment = {
        **environment_for(directory, prefix, model, system.port),
        "CCO_ROOT": str(directory),
        "COMPOSE_PROJECT_NAME": prefix,
    }
    secrets = system.state_dir / "secrets"
    system.state_dir.mkdir(mode=0o700)
    secrets.mkdir(mode=0o700)
    (secrets / "claude.env").write_text(f"ANTHROPIC_API_KEY={KEY}\n", encoding="utf-8")
    if os.geteuid() == 0:  # most people are not root, so nothing in here may depend on it
        for made in (system.state_dir, secrets, secrets / "claude.env"):
            os.chown(made, USER, USER)
    # Compose reads the environment of its own process. Built before: `make test` does that.
    with mock.patch.dict(os.environ, system.environment, clear=True):
        compose = DockerCompose(ROOT, compose_file_name=FILES, build=False, wait=True)
        try:
            with compose:
                system.environment = {key: value for key, value in system.environment.items() if key != "CCO_ROOT"}
                try:
                    yield system
                finally:
                    (directory / "compose.log").write_text("".join(compose.get_logs()), encoding="utf-8")
        finally:
            system.remove_everything()
