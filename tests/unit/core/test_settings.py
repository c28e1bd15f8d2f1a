"""Where settings come from, which of several wins, and what is said about those that are wrong."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Terminal
from controller.settings import Settings, add_flags, config_path, load_settings

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def nobody_s_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the variables nor the home of whoever runs the tests count."""
    for name in list(os.environ):
        if name.startswith("CCO_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write the configuration file."""

    def written(text: str) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setenv("CCO_CONFIG", str(path))
        return path

    return written


def refusal(**flags: object) -> str:
    """Return the one line that says what is wrong."""
    with pytest.raises(Terminal) as caught:
        load_settings(**flags)
    assert caught.value.reason == "InvalidConfig"
    assert "\n" not in caught.value.message
    return caught.value.message


# Which one wins -------------------------------------------------------------------------------------------------


def test_everything_has_a_default(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.state_dir == tmp_path / ".local/state/cc-orchestrator"
    assert (settings.host, settings.port, settings.max_instances, settings.runtime) == ("127.0.0.1", 8080, 5, "docker")


def test_the_file_lies_in_the_user_s_configuration(tmp_path: Path) -> None:
    assert config_path() == tmp_path / ".config/cc-orchestrator/config.yaml"
    config_path().parent.mkdir(parents=True)
    config_path().write_text("port: 8081")
    assert load_settings().port == 8081


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("port: 8081\nworkers: 2\nmax_instances: 7\n")
    monkeypatch.setenv("CCO_PORT", "8082")
    monkeypatch.setenv("CCO_WORKERS", "3")
    settings = load_settings(port=8083, workers=None)
    assert (settings.port, settings.workers, settings.max_instances, settings.host) == (8083, 3, 7, "127.0.0.1")


def test_a_program_has_a_flag_for_every_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCO_PORT", "8081")
    parser = argparse.ArgumentParser()
    add_flags(parser)
    given = load_settings(**vars(parser.parse_args(["--port", "9000", "--allowed-hosts", "a,b", "--state-dir", "/x"])))
    assert (given.port, given.allowed_hosts, given.state_dir) == (9000, ("a", "b"), Path("/x"))
    assert set(vars(parser.parse_args([]))) == set(Settings.model_fields)
    with pytest.raises(Terminal, match="port"):
        load_settings(**vars(parser.parse_args(["--port", "many"])))


def test_a_variable_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CCO_PORT", "CCO_CONTAINER_PREFIX", "CCO_WORKTREE_BASE_PATH", "CCO_CONFIG"):
        monkeypatch.setenv(name, "")
    assert load_settings() == Settings()


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "---\n", "{}"])
def test_an_empty_file_changes_nothing(write: Write, text: str) -> None:
    write(text)
    assert load_settings() == Settings()


def test_a_file_that_is_named_and_not_there_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CCO_CONFIG", str(tmp_path / "nowhere.yaml"))
    assert load_settings() == Settings()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_can_come_from_each_source(name: str, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    value: Any = {"log_level": "DEBUG", "allowed_hosts": "box.example", "container_prefix": "x"}.get(name)
    if value is None:
        value = {int: 3, float: 3.0}.get(type(Settings.model_fields[name].default), "/somewhere")
    write(f"{name}: {value}")
    from_file = getattr(load_settings(), name)
    monkeypatch.delenv("CCO_CONFIG")
    assert from_file != getattr(load_settings(), name)
    monkeypatch.setenv(f"CCO_{name.upper()}", str(value))
    assert getattr(load_settings(), name) == from_file
    monkeypatch.delenv(f"CCO_{name.upper()}")
    assert getattr(load_settings(**{name: value}), name) == from_file


@pytest.mark.parametrize("text", ["box.example,[::1]", " box.example , [::1] ", "box.example [::1]"])
def test_several_hosts_are_written_one_after_the_other(
    text: str, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    write("allowed_hosts: [box.example, '[::1]']")
    assert load_settings().allowed_hosts == ("box.example", "[::1]")
    monkeypatch.setenv("CCO_ALLOWED_HOSTS", text)
    assert load_settings().allowed_hosts == ("box.example", "[::1]")


# What is derived --------------------------------------------------------------------------------------------------


def test_places_are_below_the_state_directory(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    assert settings.database == tmp_path / "state.db"
    assert settings.token_file == tmp_path / "token"
    assert settings.controller_socket == tmp_path / "controller.sock"
    assert settings.instance_dir("web") == tmp_path / "instances" / "web"


def test_the_user_s_home_may_be_written_as_a_tilde(write: Write, tmp_path: Path) -> None:
    write("state_dir: ~/state\nroot: '~'\n")
    assert (load_settings().state_dir, load_settings().root) == (tmp_path / "state", tmp_path)


# What is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ports: 1", "ports: unknown setting; did you mean 'port'?"),
        ("state_directory: /x", "state_directory: unknown setting; did you mean 'state_dir'?"),
        ("prot: 1", "prot: unknown setting; did you mean 'port'?"),
        ("colour: red", "colour: unknown setting (see 'cco config show')"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(write: Write, text: str, expected: str) -> None:
    write(text)
    assert refusal().startswith(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CCO_PORTS", "CCO_PORTS: unknown setting; did you mean 'CCO_PORT'?"),
        ("CCO_STATEDIR", "CCO_STATEDIR: unknown setting; did you mean 'CCO_STATE_DIR'?"),
        ("CCO_XYZZY_PLUGH", "CCO_XYZZY_PLUGH: unknown setting (see 'cco config show')"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_known_one(
    monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert refusal().startswith(expected)


@pytest.mark.parametrize("name", ["CCO_CONFIG", "CCO_TOKEN", "CCO_TOKEN_FILE", "CCO_SERVER", "CCO_SECRETS_FILE"])
def test_variables_of_ours_that_are_no_settings_are_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "/nowhere")
    load_settings()


def test_an_unknown_flag_is_an_error() -> None:
    assert refusal(ports=1).startswith("ports: unknown setting; did you mean 'port'?")


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("port: 0", "port"),
        ("port: 65536", "port"),
        ("port: eighty", "port"),
        ("port:", "port"),
        ("max_instances: -1", "max_instances"),
        ("log_level: loud", "log_level"),
        ("container_prefix: Großbuchstaben", "container_prefix"),
        ("heartbeat_seconds: 0", "heartbeat_seconds"),
        ("workers: 65", "workers"),
        ("allowed_hosts: 7", "allowed_hosts"),
        ("state_dir: not/absolute", "state_dir"),
        ("worktree_base_path: ./here", "worktree_base_path"),
        ("root: ~nobody-of-that-name/x", "root"),
    ],
)
def test_a_wrong_value_is_named_by_its_setting(write: Write, text: str, field: str) -> None:
    write(text)
    assert refusal().startswith(f"{field}: ")


@pytest.mark.parametrize(("name", "value"), [("CCO_MAX_INSTANCES", "-1"), ("CCO_PORT", "abc")])
def test_a_wrong_value_of_a_variable_is_named_by_the_variable(
    monkeypatch: pytest.MonkeyPatch, write: Write, name: str, value: str
) -> None:
    write("port: 8081\n")
    monkeypatch.setenv(name, value)
    assert refusal().startswith(f"{name}: Input should be ")
    assert refusal(**{name.removeprefix("CCO_").lower(): "-7"}).startswith(name.removeprefix("CCO_").lower())


def test_all_wrong_values_are_named_at_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("port: 0\nprot: 1\n")
    monkeypatch.setenv("CCO_WORKERS", "many")
    message = refusal()
    assert all(word in message for word in ("port: ", "prot: unknown", "CCO_WORKERS: "))


FILES: dict[str, tuple[bytes, str]] = {
    "that is not YAML": (b"port: [1\nhost: x\n", "is not YAML, line 2"),
    "with a tab": (b"port:\t1\n\tx", "is not YAML, line 1: found character '\\t'"),
    "with a list": (b"- port\n", "must be a mapping of settings, not a list"),
    "with a word": (b"port\n", "must be a mapping of settings, not a str"),
    "with a number as a key": (b"1: 2\n", "unknown setting"),
    "that is not text": (b"port: \xff\xfe\n", "is not text in UTF-8"),
    "with a control character": (b"port: \x00\n", "is not YAML"),
    "that would run code": (b"port: !!python/object/apply:os.getcwd []\n", "is not YAML, line 1"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file(name: str, write: Write) -> None:
    content, words = FILES[name]
    path = write("")
    path.write_bytes(content)
    message = refusal()
    assert words in message
    assert str(path) in message or name == "with a number as a key"


def test_a_file_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CCO_CONFIG", str(tmp_path))
    assert refusal() == f"{tmp_path}: cannot be read: Is a directory"


# Secrets ----------------------------------------------------------------------------------------------------------

SECRET = "sk-ant-api03-secret"  # noqa: S105  # no real one


@pytest.mark.parametrize(
    "text",
    [
        f"anthropic_api_key: {SECRET}",
        f"port: {SECRET}",
        f"anthropic_api_key: {SECRET}: broken",
        f"anthropic_api_key: '{SECRET}",
        f"anthropic_api_key: *{SECRET}",
        f"[{SECRET}",
        SECRET,
    ],
)
def test_what_might_be_a_secret_is_never_shown(write: Write, text: str) -> None:
    write(text)
    assert SECRET not in refusal()


def test_a_secret_in_a_wrong_variable_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCO_ANTHROPIC_API_KEY", SECRET)
    assert SECRET not in refusal()
