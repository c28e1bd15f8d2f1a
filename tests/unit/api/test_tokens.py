from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from api.tokens import check_listen, is_loopback, load_or_create_token
from controller.errors import Terminal
from controller.settings import Settings
from support.power_cut import watching_the_disk


def test_a_token_is_made_once_and_private(settings: Settings) -> None:
    token = load_or_create_token(settings)
    assert len(token) >= 40
    assert load_or_create_token(settings) == token
    assert settings.token_file.read_text() == token + "\n"
    assert stat.S_IMODE(settings.token_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.state_dir.stat().st_mode) == 0o700
    assert list(settings.state_dir.iterdir()) == [settings.token_file]


def test_a_token_is_on_the_disk_before_it_counts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with watching_the_disk(monkeypatch) as disk:
        load_or_create_token(settings)
    assert disk.has(settings.token_file)


def test_many_first_starts_agree(settings: Settings) -> None:
    script = (
        "import sys; from pathlib import Path; from api.tokens import load_or_create_token as make;"
        "from controller.settings import Settings; print(make(Settings(state_dir=Path(sys.argv[1]))))"
    )
    argv = [sys.executable, "-c", script, str(settings.state_dir)]
    racing = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({process.communicate(timeout=60)[0] for process in racing}) == 1


def test_a_token_that_others_can_read_becomes_private(settings: Settings) -> None:
    token = load_or_create_token(settings)
    settings.token_file.chmod(0o644)
    assert load_or_create_token(settings) == token
    assert stat.S_IMODE(settings.token_file.stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "admin-token\n", "changeme"])
def test_a_weak_token_is_refused(settings: Settings, text: str) -> None:
    settings.state_dir.mkdir()
    settings.token_file.write_text(text)
    with pytest.raises(Terminal, match="delete the file") as refused:
        load_or_create_token(settings)
    assert refused.value.reason == "WeakToken"


def test_a_token_that_cannot_be_read_is_said(settings: Settings) -> None:
    settings.token_file.mkdir(parents=True)
    with pytest.raises(Terminal) as refused:
        load_or_create_token(settings)
    assert refused.value.reason == "TokenUnreadable"


def test_the_token_belongs_to_the_folders_owner(settings: Settings) -> None:
    settings.state_dir.mkdir()
    if os.geteuid() == 0:
        os.chown(settings.state_dir, 12345, 12345)
    load_or_create_token(settings)
    assert settings.token_file.stat().st_uid == settings.state_dir.stat().st_uid


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]"])
def test_loopback_needs_nothing(settings: Settings, host: str) -> None:
    assert is_loopback(host)
    check_listen(settings.model_copy(update={"host": host}))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "box.example"])  # noqa: S104 - refused
def test_other_addresses_need_a_private_token(settings: Settings, host: str) -> None:
    open_to_all = settings.model_copy(update={"host": host})
    with pytest.raises(Terminal, match=r"CCO_HOST=127\.0\.0\.1") as refused:
        check_listen(open_to_all)
    assert refused.value.reason == "ListenRefused"
    load_or_create_token(settings)
    check_listen(open_to_all)
    settings.token_file.chmod(0o644)
    with pytest.raises(Terminal):
        check_listen(open_to_all)
    settings.token_file.chmod(0o600)
    Path(settings.token_file).write_text("short")
    with pytest.raises(Terminal):
        check_listen(open_to_all)
