"""`instance.json`: good ones are read, bad ones name the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent.config import ConfigError, load, parse

GOOD: dict[str, Any] = {
    "schema": 1,
    "name": "web",
    "uid": "u",
    "attempt": 2,
    "config_hash": "h",
    "workdir": "/work tree",
    "git_dir": "/private",
    "session_id": "s",
    "prompt": "do it",
    "model": "opus",
    "permission_mode": "acceptEdits",
    "args": ["--verbose"],
    "layout": "default",
    "env": {"A": "b"},
    "base_url": "http://model",
    "heartbeat_seconds": 2,
    "of a newer controller": True,
}


def test_everything_is_read() -> None:
    config = parse(GOOD)
    assert (config.name, config.attempt, config.workdir) == ("web", 2, Path("/work tree"))
    assert (config.prompt, config.model, config.permission_mode) == ("do it", "opus", "acceptEdits")
    assert (config.args, config.env, config.heartbeat_seconds) == (("--verbose",), {"A": "b"}, 2.0)
    assert config.tmux_session == "cc-orchestrator-web"


def test_what_may_be_missing() -> None:
    needed = ("schema", "name", "uid", "attempt", "config_hash", "workdir", "git_dir", "session_id")
    config = parse({name: GOOD[name] for name in needed})
    assert (config.prompt, config.model, config.base_url) == (None, None, None)
    assert (config.permission_mode, config.layout) == ("manual", "default")
    assert (config.args, config.env, config.heartbeat_seconds) == ((), {}, 5.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "controller and image do not match"),
        ({"schema": True}, "schema must be int"),
        ({"name": ""}, "name is missing"),
        ({"uid": None}, "uid is missing"),
        ({"attempt": "one"}, "attempt must be int"),
        ({"args": ["a", 1]}, "args must be a list of strings"),
        ({"args": "-x"}, "args must be list"),
        ({"env": {"A": 1}}, "env must map"),
        ({"prompt": 5}, "prompt must be str"),
        ({"heartbeat_seconds": "5"}, "heartbeat_seconds must be a number"),
        ({"heartbeat_seconds": 0}, "between 0.1 and 3600"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse({**GOOD, **change})


def test_the_file(tmp_path: Path) -> None:
    path = tmp_path / "instance.json"
    with pytest.raises(FileNotFoundError):
        load(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load(path)
    path.write_text("[]")
    with pytest.raises(ConfigError, match="must hold an object"):
        load(path)
    path.write_text(json.dumps(GOOD))
    assert load(path).name == "web"
