"""Settings: defaults < YAML file < environment (``CCO_...``) < command line; unknown keys are errors.

The YAML file is ``$CCO_CONFIG`` or ``config.yaml`` in the user's configuration directory. Secrets are never
settings: see ``controller.credentials``.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from .errors import Terminal

if TYPE_CHECKING:
    import yaml

APP = "cc-orchestrator"


def config_path() -> Path:
    """Return where the YAML file is looked for, whether or not it exists."""
    named = os.environ.get("CCO_CONFIG")
    return Path(named) if named else Path(platformdirs.user_config_dir(APP)) / "config.yaml"


def _check_path(value: Path) -> Path:
    try:
        path = value.expanduser()
    except RuntimeError as error:
        msg = f"{str(value)!r}: nobody of that name has a home directory"
        raise ValueError(msg) from error
    if not path.is_absolute():
        msg = f"{str(value)!r} is not an absolute path, so it would mean something else to every process"
        raise ValueError(msg)
    return path


def _split(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound

AbsolutePath = Annotated[Path, AfterValidator(_check_path)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """Everything that can be set; each field is also ``CCO_<FIELD>`` in the environment, where empty means not set.

    Attributes:
        state_dir: database, sockets, token; the same absolute path on the host and in the controller's container.
        root: repositories must lie below it, because the controller's container sees only this part of the host.
        allowed_hosts: names the server answers to; in the environment separated by commas or spaces.
        requests_per_second: what the server answers one caller (the token at one address, a browser's session) in the
            long run, twice that at once; ``0`` = no limit.
        worktree_base_path: where worktrees go; default: ``<repository>.worktrees`` beside each repository.
        claude: Claude Code's program for runtime ``process``, a path or a name to look for on PATH.
        model_base_url: where Claude Code finds its model; default: ``ANTHROPIC_BASE_URL``, else the usual place.
        max_instances: how many instances may be declared; ``0`` = no limit.
        disk_full_percent: from here on a disk counts as too full, unless 50 GiB of it are free: nothing is started, and
            who fills it is parked.
        resync_seconds: every object is looked at again at least this often.
        workers: passes that run at the same time; container starts do not get faster beyond four.
        lease_seconds: a controller that shows no sign of life for so long is replaced by its standby.
    """

    model_config = SettingsConfigDict(env_prefix="CCO_", env_ignore_empty=True, extra="forbid", frozen=True)

    state_dir: AbsolutePath = Field(default_factory=lambda: Path(platformdirs.user_state_dir(APP)))
    root: AbsolutePath | None = None
    worktree_base_path: AbsolutePath | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    allowed_hosts: Words = ("127.0.0.1", "localhost", "[::1]")
    requests_per_second: float = Field(default=500.0, ge=0, le=1e6)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    max_instances: int = Field(default=5, ge=0)
    runtime: str = "docker"
    instance_image: str = "cc-orchestrator/instance:0.1.0"
    container_prefix: str = Field(default="cco", pattern=r"^[a-z0-9][a-z0-9-]{0,19}$")
    network: str = "cc-orchestrator"
    claude: str = Field(default="claude", min_length=1)
    model_base_url: str | None = Field(default_factory=lambda: os.environ.get("ANTHROPIC_BASE_URL") or None)
    disk_full_percent: float = Field(default=90.0, ge=1, le=100)
    resync_seconds: float = Field(default=30.0, gt=0)
    heartbeat_seconds: float = Field(default=5.0, gt=0)
    stop_grace_seconds: float = Field(default=8.0, gt=0)
    workers: int = Field(default=4, ge=1, le=64)
    lease_seconds: float = Field(default=10.0, ge=2)

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state_dir / "state.db"

    @property
    def token_file(self) -> Path:
        """Holds the API token, mode 0600."""
        return self.state_dir / "token"

    @property
    def controller_socket(self) -> Path:
        """Where the controller serves streams to the API."""
        return self.state_dir / "controller.sock"

    @property
    def url(self) -> str:
        """The server's address, for somebody on this machine."""
        host = self.host.strip("[]")
        host = _ANY.get(host, host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def instance_dir(self, name: str) -> Path:
        """Return the instance's own folder below the state directory."""
        return self.state_dir / "instances" / name

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: command line, environment, YAML."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_yaml(config_path()))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Terminal("InvalidConfig", f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise Terminal("InvalidConfig", f"{path}: is not text in UTF-8") from None
    return _parse_yaml(path, text)


def _parse_yaml(path: Path, text: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415  # it takes long to load, and often there is no such file

    try:
        values = yaml.safe_load(text) or {}
    except yaml.MarkedYAMLError as error:
        raise Terminal("InvalidConfig", f"{path}: is not YAML{_where(error)}") from None
    except yaml.YAMLError:
        raise Terminal("InvalidConfig", f"{path}: is not YAML") from None
    if not isinstance(values, dict):
        raise Terminal("InvalidConfig", f"{path}: must be a mapping of settings, not a {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def _where(error: yaml.MarkedYAMLError) -> str:
    """Return line and problem without any text of the file: somebody may have put a secret there."""
    if error.problem_mark is None:
        return ""
    problem = re.sub(r"""(['"]).{3,}\1""", "...", error.problem or "")
    return f", line {error.problem_mark.line + 1}: {problem}"


def load_settings(**flags: object) -> Settings:
    """Return the settings; ``flags`` are command-line values, ``None`` meaning not given.

    Raises:
        Terminal: ``InvalidConfig`` naming each wrong key or value, with the nearest known key.
    """
    _check_environment()
    try:
        return Settings(**{key: value for key, value in flags.items() if value is not None})  # type: ignore[arg-type]  # values are validated by pydantic
    except ValidationError as error:
        lines = [_explain(_called(item["loc"], flags), item["msg"], item["type"]) for item in error.errors()]
        raise Terminal("InvalidConfig", "; ".join(lines)) from error


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Give a program one option per setting, ``--state-dir`` for ``state_dir``; not given, it is ``None``."""
    group = parser.add_argument_group("settings", "what the file and the environment say otherwise")
    for field in Settings.model_fields:
        group.add_argument(f"--{field.replace('_', '-')}", metavar="VALUE", help=f"as CCO_{field.upper()}")


_OTHER_VARIABLES = {"CCO_CONFIG", "CCO_TOKEN", "CCO_TOKEN_FILE", "CCO_SERVER", "CCO_SECRETS_FILE"}


def _check_environment() -> None:
    known = {f"CCO_{field.upper()}" for field in Settings.model_fields} | _OTHER_VARIABLES
    for name in os.environ:
        if name.startswith("CCO_") and name not in known:
            raise Terminal("InvalidConfig", _explain(name, "unknown variable", "extra_forbidden", known))


def _called(location: tuple[int | str, ...], flags: dict[str, object]) -> str:
    """Return what somebody wrote to set the field: the variable's name, or the field's own in the file."""
    field, variable = str(location[0]), f"CCO_{str(location[0]).upper()}"
    if flags.get(field) is None and field in Settings.model_fields and os.environ.get(variable):
        return variable
    return ".".join(map(str, location))


def _explain(key: str, message: str, type_: str, known: set[str] | None = None) -> str:
    if type_ != "extra_forbidden":
        return f"{key}: {message}"
    near = difflib.get_close_matches(key, known or set(Settings.model_fields), n=3)
    near.sort(key=lambda each: sorted(each) != sorted(key))  # stable: letters that changed places come first
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"{key}: unknown setting{hint} (see 'cco config show')"
