"""Where Claude's credentials are found, which source wins, and that they are told to nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.credentials import NAMES, Credentials
from controller.errors import Terminal

KEY, OAUTH, TOKEN = NAMES
SECRET = "sk-ant-api03-secret"  # noqa: S105  # no real one

Make = Callable[..., Credentials]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return credentials over a folder and a file of the test's own; ``None``: the file is not there."""
    (tmp_path / "secrets").mkdir()

    def made(*, file: str | None = None, environment: dict[str, str] | None = None, **secrets: str) -> Credentials:
        path = tmp_path / "claude.env"
        if file is not None:
            path.write_text(file, encoding="utf-8")
        for name, text in secrets.items():
            (tmp_path / "secrets" / name).write_text(text, encoding="utf-8")
        return Credentials(environment=environment or {}, directory=tmp_path / "secrets", file=path)

    return made


def test_nothing_anywhere_is_nothing(make: Make, tmp_path: Path) -> None:
    assert make().read() == {}
    assert not make().present()
    assert Credentials(directory=tmp_path / "nowhere").read() == {}
    (tmp_path / "a-file").touch()
    assert Credentials(directory=tmp_path / "a-file").read() == {}


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_found_in_each_place(make: Make, name: str) -> None:
    assert make(environment={name: "x"}).read() == {name: "x"}
    assert make(file=f"{name}=y\n").read() == {name: "y"}
    assert make(**{name: "z\n"}).read() == {name: "z"}
    assert make().present()


def test_the_folder_beats_the_file_beats_the_environment(make: Make) -> None:
    everywhere = make(
        file=f"{KEY}=file\n{OAUTH}=file\n", environment=dict.fromkeys(NAMES, "environment"), **{KEY: "folder"}
    )
    assert everywhere.read() == {KEY: "folder", OAUTH: "file", TOKEN: "environment"}


def test_what_is_empty_is_not_there(make: Make) -> None:
    credentials = make(file=f"{KEY}=\n{OAUTH}=''\n", environment={KEY: "environment", TOKEN: ""}, **{OAUTH: " \n"})
    assert credentials.read() == {KEY: "environment"}


@pytest.mark.parametrize(
    "line",
    [
        f"{KEY}=x",
        f"  {KEY} = x  ",
        f"export {KEY}=x",
        f"{KEY}='x'",
        f'{KEY}="x"',
        f"# {KEY}=old\n\n{KEY}=x",
        f"{KEY}=old\n{KEY}=x",
        f"SOMETHING_ELSE=1\r\n{KEY}=x\r\n",
    ],
)
def test_lines_are_read_as_a_shell_would(make: Make, line: str) -> None:
    assert make(file=line).read() == {KEY: "x"}


def test_only_what_claude_can_log_in_with_is_taken(make: Make) -> None:
    assert make(file="AWS_SECRET_ACCESS_KEY=x\n", environment={"HOME": "/root"}).read() == {}


def test_a_changed_file_needs_no_restart(make: Make, tmp_path: Path) -> None:
    credentials = make(file=f"{KEY}=old")
    assert credentials.read() == {KEY: "old"}
    (tmp_path / "claude.env").write_text(f"{KEY}=new")
    assert credentials.read() == {KEY: "new"}
    (tmp_path / "claude.env").unlink()
    assert credentials.read() == {}


# What cannot be read ---------------------------------------------------------------------------------------------


def broken_line(folder: Path) -> None:
    (folder / "claude.env").write_text(f"# ours\n{SECRET}\n")


def not_text(folder: Path) -> None:
    (folder / "claude.env").write_bytes(SECRET.encode() + b"\xff")


def a_folder(folder: Path) -> None:
    (folder / "claude.env").mkdir()


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "that has no name": (broken_line, "claude.env, line 2: write NAME=value"),
    "that is not text": (not_text, "claude.env: is not text in UTF-8"),
    "that is a folder": (a_folder, "claude.env: cannot be read: Is a directory"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_secret_file(name: str, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    breaks, words = BROKEN[name]
    credentials = make(environment={KEY: "x"})
    breaks(tmp_path)
    with pytest.raises(Terminal) as caught:
        credentials.read()
    assert caught.value.reason == "InvalidSecretsFile"
    assert caught.value.message == f"{tmp_path}/{words}"
    assert not credentials.present(), "an unreadable source is no source, even where another one has something"
    (record,) = caplog.records
    assert vars(record)["cco_error"] == caught.value.message
    assert SECRET not in f"{caplog.text}{vars(record)}{caught.value!r}{caught.value.__cause__!r}"


# The environment -------------------------------------------------------------------------------------------------


def test_credentials_leave_the_environment_so_that_no_child_inherits_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "x")
    monkeypatch.delenv(OAUTH)
    monkeypatch.setenv(TOKEN, "")
    monkeypatch.setenv("CCO_SECRETS_FILE", str(tmp_path / "claude.env"))
    credentials = Credentials.from_environment()
    assert credentials.environment == {KEY: "x"}
    assert credentials.file == tmp_path / "claude.env"
    assert not set(NAMES) & set(os.environ)


def test_without_a_named_file_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCO_SECRETS_FILE", "")
    assert Credentials.from_environment().file is None


def test_values_never_show() -> None:
    assert SECRET not in repr(Credentials(environment={KEY: SECRET}))
