"""What the agent makes of HOME: seeds, credentials, notes, the command line."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import command, conversation, credentials, files, seeding
from agent.config import InstanceConfig, parse
from agent.places import Places

SESSION = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
RUNS = (Path("/dev/shm/cco-0123456789ab/secrets"), Path("/run/user/1000/cco-ba9876543210/secrets"))  # noqa: S108  # names


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(
        home=tmp_path / "home", run=tmp_path / "run", secrets=tmp_path / "secrets", scratch=tmp_path / "scratch"
    )
    made.secrets.mkdir()
    made.prepare()
    return made


def config(**changes: object) -> InstanceConfig:
    needed = {"schema": 1, "name": "web", "uid": "u", "attempt": 1, "config_hash": "h", "session_id": SESSION}
    return parse({**needed, "workdir": "/w", "git_dir": "/g", **changes})


def say(places: Places, session: str, *entries: object) -> Path:
    folder = places.claude / "projects" / "-w"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{session}.jsonl"
    path.write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    return path


def human(content: object) -> dict[str, Any]:
    return {"type": "user", "message": {"role": "user", "content": content}}


def test_folders_are_closed_to_others(places: Places) -> None:
    places.prepare()
    for folder in (places.scratch, places.notes, places.claude):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.replace(path, b"one", mode=0o400)
    files.replace(path, b"two", mode=0o400)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    with pytest.raises(IsADirectoryError):
        files.replace(tmp_path, b"three")
    assert not (tmp_path.parent / f".{tmp_path.name}.new").exists()


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00", '"x"'])
def test_a_broken_json_file_is_an_empty_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "file").write_text(content)
    assert files.read_json_object(tmp_path / "file") == {}
    assert files.read_json_object(tmp_path / "missing") == {}


class TestSeeding:
    def test_every_dialog_is_answered(self, places: Places) -> None:
        seeding.seed(places.claude_json, [Path("/w"), Path("/r")])
        state = files.read_json_object(places.claude_json)
        assert state["hasCompletedOnboarding"] is True
        assert state["hasSeenAutoDefaultNotice"] is True
        assert state["bypassPermissionsModeAccepted"] is True
        assert state["projects"] == {p: {"hasTrustDialogAccepted": True} for p in ("/w", "/r")}
        assert "permissions" not in state

    def test_what_is_there_stays(self, places: Places) -> None:
        theirs = {"theme": "light", "oauthAccount": {"x": 1}, "projects": {"/w": {"a": 1}, "/x": {"b": 2}, "/y": 3}}
        places.claude_json.write_text(json.dumps(theirs))
        seeding.seed(places.claude_json, [Path("/w")])
        state: dict[str, Any] = files.read_json_object(places.claude_json)
        assert state["theme"] == "light"
        assert state["oauthAccount"] == {"x": 1}
        assert state["projects"] == {"/w": {"a": 1, "hasTrustDialogAccepted": True}, "/x": {"b": 2}, "/y": 3}

    def test_the_second_time_nothing_is_written(self, places: Places) -> None:
        seeding.seed(places.claude_json, [Path("/w")])
        before = places.claude_json.stat()
        seeding.seed(places.claude_json, [Path("/w")])
        assert places.claude_json.stat().st_ino == before.st_ino

    def test_a_broken_file_is_made_good(self, places: Places) -> None:
        places.claude_json.write_text("{")
        seeding.seed(places.claude_json, [])
        assert files.read_json_object(places.claude_json)["hasCompletedOnboarding"] is True

    def test_the_key_helper_comes_and_goes(self, places: Places) -> None:
        settings = places.claude / "settings.json"
        settings.write_text('{"model": "opus"}')
        for _ in range(2):
            seeding.set_key_helper(settings, "cat key", wanted=True)
            assert files.read_json_object(settings) == {"model": "opus", "apiKeyHelper": "cat key"}
        for _ in range(2):
            seeding.set_key_helper(settings, "cat key", wanted=False)
            assert files.read_json_object(settings) == {"model": "opus"}

    def test_another_key_helper_stays(self, places: Places) -> None:
        settings = places.claude / "settings.json"
        settings.write_text('{"apiKeyHelper": "theirs"}')
        for wanted in (True, False):
            seeding.set_key_helper(settings, "cat key", wanted=wanted)
            assert files.read_json_object(settings) == {"apiKeyHelper": "theirs"}

    @pytest.mark.parametrize("theirs", ["cat /home/a/secrets/ANTHROPIC_API_KEY", "cat /run/secrets/OTHER", "pass key"])
    def test_a_helper_that_looks_like_ours_stays(self, places: Places, theirs: str) -> None:
        settings = places.claude / "settings.json"
        settings.write_text(json.dumps({"apiKeyHelper": theirs}))
        for wanted in (True, False):
            seeding.set_key_helper(settings, credentials.helper_command(RUNS[1]), wanted=wanted)
            assert files.read_json_object(settings) == {"apiKeyHelper": theirs}

    @pytest.mark.parametrize("earlier", [*RUNS, Path("/run/secrets")])
    def test_the_key_helper_of_an_earlier_run_is_replaced(self, places: Places, earlier: Path) -> None:
        settings = places.claude / "settings.json"
        settings.write_text('{"model": "opus"}')
        now = credentials.helper_command(RUNS[1])
        for helper in (credentials.helper_command(earlier), now, now):
            seeding.set_key_helper(settings, helper, wanted=True)
        assert files.read_json_object(settings) == {"model": "opus", "apiKeyHelper": now}

    @pytest.mark.parametrize("earlier", [*RUNS, Path("/run/secrets")])
    def test_the_key_helper_of_an_earlier_run_goes_when_a_token_comes(self, places: Places, earlier: Path) -> None:
        settings = places.claude / "settings.json"
        settings.write_text('{"model": "opus"}')
        seeding.set_key_helper(settings, credentials.helper_command(earlier), wanted=True)
        seeding.set_key_helper(settings, credentials.helper_command(RUNS[1]), wanted=False)
        assert files.read_json_object(settings) == {"model": "opus"}

    def test_stale_sessions_are_dropped(self, places: Places) -> None:
        seeding.drop_stale_sessions(places.claude)
        sessions = places.claude / "sessions"
        sessions.mkdir()
        (sessions / "7.json").touch()
        (sessions / "7.abc.key").touch()
        seeding.drop_stale_sessions(places.claude)
        assert list(sessions.iterdir()) == []

    def test_the_repository_is_trusted_as_well_as_the_worktree(self, tmp_path: Path) -> None:
        git_dir = tmp_path / "private"
        (git_dir / "objects" / "info").mkdir(parents=True)
        assert seeding.trusted_folders(tmp_path, git_dir) == [tmp_path]
        alternates = git_dir / "objects" / "info" / "alternates"
        alternates.write_text("/src/app/.git/objects\n/srv/bare.git/objects\n")
        assert seeding.trusted_folders(tmp_path, git_dir) == [tmp_path, Path("/src/app"), Path("/srv/bare.git")]


class TestCredentials:
    def test_values_become_files_for_this_user_alone(self, places: Places) -> None:
        assert credentials.store(places.secrets, {"ANTHROPIC_API_KEY": "k\n", "GITHUB_TOKEN": "g"}) is True
        key = places.secrets / "ANTHROPIC_API_KEY"
        assert key.read_text() == "k"
        assert stat.S_IMODE(key.stat().st_mode) == 0o400
        assert credentials.store(places.secrets, {"ANTHROPIC_API_KEY": "k", "GITHUB_TOKEN": "g"}) is False

    def test_they_are_exactly_what_was_said_last(self, places: Places) -> None:
        credentials.store(places.secrets, {"ANTHROPIC_API_KEY": "k"})
        assert credentials.store(places.secrets, {"ANTHROPIC_API_KEY": "k2"}) is True
        assert (places.secrets / "ANTHROPIC_API_KEY").read_text() == "k2"
        assert credentials.store(places.secrets, {}) is True
        assert list(places.secrets.iterdir()) == []
        assert credentials.kind(places.secrets) is None

    @pytest.mark.parametrize("name", ["../x", "a", "PATH=", "", "A/B"])
    def test_strange_names_and_values_are_passed_over(self, places: Places, name: str) -> None:
        credentials.store(places.secrets, {name: "x", "ANTHROPIC_API_KEY": 5, "ANTHROPIC_AUTH_TOKEN": " "})
        assert list(places.secrets.iterdir()) == []

    def test_one_kind_is_used(self, places: Places) -> None:
        credentials.store(
            places.secrets, {"ANTHROPIC_API_KEY": "k", "CLAUDE_CODE_OAUTH_TOKEN": "o", "GITHUB_TOKEN": "g"}
        )
        assert credentials.kind(places.secrets) == "ANTHROPIC_API_KEY"
        assert list(credentials.environment_files(places.secrets)) == ["GITHUB_TOKEN"]
        credentials.store(places.secrets, {"CLAUDE_CODE_OAUTH_TOKEN": "o"})
        assert list(credentials.environment_files(places.secrets)) == ["CLAUDE_CODE_OAUTH_TOKEN"]


class TestConversation:
    def test_notes_survive_and_belong_to_one_declaration(self, places: Places) -> None:
        path = places.notes / "session.json"
        fresh = conversation.read_notes(path, SESSION)
        assert fresh == conversation.Notes(SESSION, SESSION)
        kept = replace(fresh.followed(OTHER), prompted=True)
        conversation.write_notes(path, kept)
        assert conversation.read_notes(path, SESSION) == kept
        assert conversation.read_notes(path, OTHER) == conversation.Notes(OTHER, OTHER)

    @pytest.mark.parametrize("newest", [None, "", "../../etc", 5])
    def test_a_strange_session_id_is_not_followed(self, places: Places, newest: object) -> None:
        path = places.notes / "session.json"
        path.write_text(json.dumps({"declared": SESSION, "newest": newest, "prompted": "yes"}))
        assert conversation.read_notes(path, SESSION) == conversation.Notes(SESSION, SESSION)

    def test_what_was_said(self, places: Places) -> None:
        path = say(
            places,
            SESSION,
            {"type": "assistant", "message": {"content": "not human"}},
            human("plain text\n"),
            human([{"type": "tool_result"}, {"type": "text", "text": "in a block"}]),
            human('\n\n<pasted_content id="b">\nlong\n</pasted_content id="b">\n'),
            human("  a\ttab, in\n\n a queue "),
            human(5),
            [],
        )
        with path.open("a") as file:
            file.write("{half a line")
        for text in ("plain text", "in a block", "long", "\ta    tab, in\n\n a queue"):
            assert conversation.was_said(path, text)
        assert not conversation.was_said(path, "not human")
        assert not conversation.was_said(path, "plain text", path.stat().st_size - 5)
        assert not conversation.was_said(path.with_name("missing"), "plain text")

    def test_a_transcript_is_found_wherever_it_is(self, places: Places) -> None:
        assert conversation.transcript(places.claude, SESSION) is None
        assert conversation.transcript(places.claude, say(places, SESSION).stem) is not None

    @pytest.mark.parametrize("content", ["", "\0" * 4096, "[]\n", '{"type": "mode", "uuid": 5}\n{"uuid"'])
    def test_a_transcript_without_a_conversation_is_set_aside(self, places: Places, content: str) -> None:
        path = say(places, SESSION)
        path.write_text(content)
        aside = conversation.set_aside_unusable(places.claude, SESSION)
        assert aside is not None
        assert aside.parent == path.parent
        assert aside.read_text() == content
        assert conversation.transcript(places.claude, SESSION) is None
        assert conversation.set_aside_unusable(places.claude, SESSION) is None

    def test_a_damaged_transcript_with_a_conversation_is_left(self, places: Places) -> None:
        path = say(places, SESSION, [], {"type": "user", "uuid": "22222222-2222-4222-8222-222222222222"})
        path.write_bytes(b"\xff\xfe\n" + path.read_bytes() + b'{"half')
        assert conversation.set_aside_unusable(places.claude, SESSION) is None
        assert conversation.transcript(places.claude, SESSION) == path


class TestCommand:
    def build(self, places: Places, notes: conversation.Notes | None = None, **changes: object) -> command.Command:
        return command.build(config(**changes), notes or conversation.Notes(SESSION, SESSION), places.claude)

    def test_the_first_start(self, places: Places) -> None:
        how = self.build(places, prompt="-do it", model="opus", permission_mode="acceptEdits", args=["--verbose"])
        head = ("claude", "--session-id", SESSION, "--permission-mode", "acceptEdits")
        assert how.argv == (*head, "--model", "opus", "--verbose", "--", "-do it")
        assert (how.first_prompt, how.typed_prompt) == (True, None)

    def test_the_permission_mode_is_always_said(self, places: Places) -> None:
        assert self.build(places).argv[-2:] == ("--permission-mode", "manual")

    def test_a_conversation_that_exists_is_gone_on_with(self, places: Places) -> None:
        say(places, SESSION)
        how = self.build(places, prompt="do it")
        assert how.argv[1:3] == ("--resume", SESSION)
        assert "do it" not in how.argv

    def test_a_cleared_conversation_is_gone_on_with(self, places: Places) -> None:
        say(places, SESSION)
        notes = conversation.Notes(SESSION, OTHER, prompted=True)
        assert self.build(places, notes, prompt="do it").argv[1:3] == ("--session-id", OTHER)
        say(places, OTHER)
        assert self.build(places, notes, prompt="do it").argv[1:3] == ("--resume", OTHER)

    def test_a_prompt_that_was_given_is_not_given_again(self, places: Places) -> None:
        notes = conversation.Notes(SESSION, SESSION, prompted=True)
        assert "do it" not in self.build(places, notes, prompt="do it").argv

    def test_a_prompt_too_long_for_an_argument_is_typed(self, places: Places) -> None:
        how = self.build(places, prompt="é" * 60_000)
        assert how.first_prompt is False
        assert how.typed_prompt == "é" * 60_000
        assert sum(len(argument) for argument in how.argv) < 1000

    def test_the_environment(self, places: Places) -> None:
        values = command.environment(config(env={"A": "b", "DISABLE_AUTOUPDATER": "0"}, base_url="http://m"), places)
        assert values["A"] == "b"
        assert values["ANTHROPIC_BASE_URL"] == "http://m"
        assert values["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
        assert values["DISABLE_AUTOUPDATER"] == "1"
        assert "ANTHROPIC_BASE_URL" not in command.environment(config(), places)

    def test_the_launch_file_holds_no_secret(self, places: Places) -> None:
        credentials.store(places.secrets, {"ANTHROPIC_AUTH_TOKEN": "very secret"})
        command.write_launch_file(places, self.build(places))
        text = places.launch_file.read_text()
        assert "very secret" not in text
        assert json.loads(text)["env_files"] == {"ANTHROPIC_AUTH_TOKEN": str(places.secrets / "ANTHROPIC_AUTH_TOKEN")}
