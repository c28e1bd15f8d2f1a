"""The scripted model over a real socket."""

from __future__ import annotations

import http.client
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from scripted_model import ScriptedModel, secret_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOOLS = [{"name": "Bash"}, {"name": "Write"}, {"name": "Agent"}]


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as server:
        yield server


def call(
    model: ScriptedModel, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(model.host, model.port, timeout=5)
    try:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        connection.request(method, path, raw, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text}]}


def ask(model: ScriptedModel, *messages: dict[str, Any], **extra: object) -> tuple[int, dict[str, Any]]:
    request = {"model": "m", "messages": list(messages), "tools": TOOLS, **extra}
    status, body = call(model, "POST", "/v1/messages?beta=true", request)
    return status, json.loads(body)


def answered(answer: dict[str, Any], *, error: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """The messages by which a client goes on after an answer with a tool call."""
    tool = next(block for block in answer["content"] if block["type"] == "tool_use")
    result = {"type": "tool_result", "tool_use_id": tool["id"], "content": "x", "is_error": error}
    return {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": [result]}


def test_every_step_of_a_script_is_one_answer(model: ScriptedModel) -> None:
    prompt = user("Please. STEP write a.txt some words STEP bash ls -l\ntrue STEP say bye STEP say now")
    system = "Primary working directory: /work tree\n"
    _, first = ask(model, prompt, system=system)
    assert first["content"][0]["name"] == "Write"
    assert first["content"][0]["input"] == {"file_path": "/work tree/a.txt", "content": "some words\n"}
    assert first["stop_reason"] == "tool_use"
    _, second = ask(model, prompt, *answered(first), system=system)
    assert second["content"][0]["input"]["command"] == "ls -l\ntrue"
    _, third = ask(model, prompt, *answered(first), *answered(second), system=system)
    assert third["content"] == [{"type": "text", "text": "bye\nnow"}]
    assert third["stop_reason"] == "end_turn"


def test_a_new_prompt_starts_a_new_script(model: ScriptedModel) -> None:
    prompt = user("STEP bash one")
    _, first = ask(model, prompt)
    done = {"role": "assistant", "content": "Done."}
    _, second = ask(model, prompt, *answered(first), done, user("STEP bash two"))
    assert second["content"][0]["input"]["command"] == "two"


def test_the_clients_own_notes_are_not_the_prompt(model: ScriptedModel) -> None:
    content = [
        {"type": "text", "text": "<system-reminder>STEP bash no</system-reminder>"},
        {"type": "text", "text": '\n\n<pasted_content id="1">\nSTEP say\n  kept\n\n</pasted_content id="1">\n'},
        {"type": "text", "text": "[Request interrupted by user]"},
    ]
    ask(model, {"role": "user", "content": content}, {"role": "system", "content": "note"})
    assert model.requests[-1].prompt == "STEP say\n  kept\n"


@pytest.mark.parametrize(
    ("script", "name", "arguments"),
    [
        ('STEP tool Grep {"pattern": "x"}', "Grep", {"pattern": "x"}),
        (
            "STEP task SUB bash ls SUB say ok",
            "Agent",
            {
                "description": "Scripted sub-agent",
                "prompt": "STEP bash ls STEP say ok",
                "subagent_type": "general-purpose",
            },
        ),
    ],
)
def test_tools_by_name(model: ScriptedModel, script: str, name: str, arguments: dict[str, Any]) -> None:
    _, answer = ask(model, user(script))
    assert (answer["content"][0]["name"], answer["content"][0]["input"]) == (name, arguments)


def test_a_question_has_options(model: ScriptedModel) -> None:
    _, answer = ask(model, user("STEP ask Shall we?"))
    question = answer["content"][0]["input"]["questions"][0]
    assert question["question"] == "Shall we?"
    assert len(question["options"]) == 2


def test_failures_are_used_up(model: ScriptedModel) -> None:
    assert [ask(model, user("STEP fail 529 2 STEP say ok"))[0] for _ in range(3)] == [529, 529, 200]
    assert [ask(model, user("STEP fail 401"))[0] for _ in range(3)] == [401, 401, 401]
    _, error = ask(model, user("STEP fail 401"))
    assert error["error"]["type"] == "authentication_error"


@pytest.mark.parametrize("script", ["STEP sleep soon", "STEP fail", "STEP tool X {", "STEP tool X []", "STEP write"])
def test_an_impossible_script_says_so(model: ScriptedModel, script: str) -> None:
    status, answer = ask(model, user(script))
    assert status == 200
    assert "cannot be played" in answer["content"][0]["text"]


def test_without_steps_it_writes_a_file_and_commits_it(model: ScriptedModel) -> None:
    prompt = user("Say hello")
    _, first = ask(model, prompt)
    assert first["content"][1]["input"]["file_path"].endswith("hello.txt")
    _, second = ask(model, prompt, *answered(first))
    assert "git commit" in second["content"][1]["input"]["command"]
    _, third = ask(model, prompt, *answered(first), *answered(second))
    assert third["content"][0]["text"].startswith("Done")
    done = {"role": "assistant", "content": third["content"]}
    _, next_one = ask(model, prompt, *answered(first), *answered(second), done, user("Again"))
    assert next_one["content"][1]["input"]["file_path"].endswith("hello-2.txt")


def test_without_steps_a_file_of_the_repository_is_extended(model: ScriptedModel) -> None:
    prompt = user("Say hello")
    _, first = ask(model, prompt)
    _, second = ask(model, prompt, *answered(first, error=True))
    assert ">> hello.txt" in second["content"][1]["input"]["command"]


def test_a_finished_sub_agent_is_not_a_wish(model: ScriptedModel) -> None:
    _, answer = ask(model, user("<task-notification>done</task-notification>"))
    assert [block["type"] for block in answer["content"]] == ["text"]


def test_the_title_call_gets_a_title(model: ScriptedModel) -> None:
    _, answer = ask(model, user("one two three four five six"), tools=[], output_config={"format": {}})
    assert json.loads(answer["content"][0]["text"]) == {"title": "one two three four five"}
    assert model.requests[-1].title


def test_the_stream_adds_up_to_the_message(model: ScriptedModel) -> None:
    request = {"model": "m", "messages": [user("STEP say two  words STEP bash ls")], "stream": True}
    status, body = call(model, "POST", "/v1/messages", request)
    assert status == 200
    events = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["message_start", "ping"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(d.get("text", "") for d in deltas) == "two  words"
    assert json.loads("".join(d.get("partial_json", "") for d in deltas))["command"] == "ls"
    assert events[-2]["usage"]["output_tokens"] == 50


def test_records_hold_hashes_of_credentials(model: ScriptedModel) -> None:
    headers = {"x-api-key": "key", "authorization": "Bearer token"}
    body = {"model": "m", "messages": [user("hi")]}
    call(model, "POST", "/v1/messages", body, headers)
    _, report = call(model, "GET", "/_requests")
    assert b'"key"' not in report
    data = json.loads(report)
    assert data["count"] == 1
    assert data["last_prompt"] == "hi"
    assert data["requests"][0]["api_key_sha256"] == secret_hash("key")
    assert data["requests"][0]["authorization_sha256"] == secret_hash("token")


def test_only_the_key_is_answered_where_one_is_asked_for() -> None:
    request = {"model": "m", "messages": [user("STEP say hello")], "tools": TOOLS}
    with ScriptedModel(key="right") as model:
        statuses = [
            call(model, "POST", "/v1/messages", request, headers)[0]
            for headers in (
                {},
                {"x-api-key": ""},
                {"x-api-key": "wrong"},
                {"x-api-key": "right"},
                {"authorization": "Bearer right"},
            )
        ]
        assert statuses == [401, 401, 401, 200, 200]
        assert [record.status for record in model.requests] == statuses


def test_other_addresses(model: ScriptedModel) -> None:
    assert call(model, "HEAD", "/api/hello") == (200, b"")
    assert call(model, "HEAD", "/nothing")[0] == 404
    assert call(model, "GET", "/")[0] == 200
    assert call(model, "GET", "/nothing")[0] == 404
    assert call(model, "POST", "/v1/nothing", {})[0] == 404
    assert call(model, "POST", "/v1/messages", b"{")[0] == 400
    assert call(model, "POST", "/v1/messages", b"[]")[0] == 400


def test_stopping_ends_a_sleeping_answer() -> None:
    model = ScriptedModel().start()
    ended = threading.Event()

    def wait_for_answer() -> None:
        # Cut off or answered early, both are fine: the point is that it ends.
        with pytest.raises((OSError, http.client.HTTPException, AssertionError)):
            assert ask(model, user("STEP sleep 60 STEP say late"))[0] == 0
        ended.set()

    threading.Thread(target=wait_for_answer, daemon=True).start()
    deadline = time.monotonic() + 5
    while not model.requests and time.monotonic() < deadline:
        ended.wait(0.01)
    model.stop()
    assert ended.wait(5)


def test_the_log_gets_one_line_per_request(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with ScriptedModel(log=log) as model:
        ask(model, user("one"))
        ask(model, user("two"))
    assert [json.loads(line)["prompt"] for line in log.read_text().splitlines()] == ["one", "two"]
