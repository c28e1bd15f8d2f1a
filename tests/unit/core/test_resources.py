"""What may be written into a spec: every refusal names the field, the value and a way out."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from controller.resources import (
    Input,
    InstanceDefaults,
    InstanceManifest,
    InstanceSpec,
    ManifestMetadata,
    RepositoryManifest,
    Resources,
)
from controller.resources.base import Timestamp
from controller.resources.inputs import MAX_INPUT_CHARACTERS

GiB = 1024**3


def manifest(**spec: Any) -> InstanceManifest:  # noqa: ANN401  # any field
    return InstanceManifest.model_validate({"metadata": {"name": "web"}, "spec": {"repository": "shop", **spec}})


def refused(**spec: Any) -> tuple[str, str]:  # noqa: ANN401  # any field
    """Return the field a spec is refused for, and why."""
    with pytest.raises(ValidationError) as caught:
        manifest(**spec)
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


def refused_metadata(**metadata: Any) -> tuple[str, str]:  # noqa: ANN401  # any field
    with pytest.raises(ValidationError) as caught:
        ManifestMetadata.model_validate({"name": "web", **metadata})
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


# Names and labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "7", "web", "fix-login", "a--b", "x" * 40])
def test_a_name(name: str) -> None:
    assert ManifestMetadata(name=name).name == name


@pytest.mark.parametrize(
    "name", ["", "Web", "web_1", "-web", "web-", "we b", "web\n", "wéb", "x" * 41, "../etc", "a.b", "web\0"]
)
def test_no_name(name: str) -> None:
    field, message = refused_metadata(name=name)
    assert field == "name"
    assert repr(name) in message
    assert "for example 'fix-login'" in message


@pytest.mark.parametrize(
    "labels",
    [{}, {"team": "web"}, {"example.org/team": "a.b_c-d"}, {"k" * 63: "v" * 63}, {"empty": ""}, {"A": "1"}],
)
def test_labels(labels: dict[str, str]) -> None:
    assert ManifestMetadata(name="web", labels=labels).labels == labels


@pytest.mark.parametrize("key", ["", "-a", "a-", "a b", "k" * 64, "ä", "a\n"])
def test_no_label_key(key: str) -> None:
    field, message = refused_metadata(labels={key: "x"})
    assert field == "labels"
    assert repr(key) in message


@pytest.mark.parametrize("value", ["-a", "a-", "a b", "v" * 64, "a/b", "ä", "a\n"])
def test_no_label_value(value: str) -> None:
    field, message = refused_metadata(labels={"team": value})
    assert field == "labels"
    assert "'team'" in message
    assert repr(value) in message


def test_too_many_labels() -> None:
    assert refused_metadata(labels={f"k{n}": "" for n in range(65)})[0] == "labels"


# Branches: git has the last word --------------------------------------------------------------------------------


def git_accepts(branch: str) -> bool:
    command = ["git", "check-ref-format", "--branch", branch]
    return subprocess.run(command, check=False, capture_output=True, timeout=10).returncode == 0


BRANCHES = [
    "main",
    "feature/login",
    "v1.0",
    "a.b",
    "ünïcode",
    "x" * 200,
    "user@host",
    "a-",
    "a/b/c",
    "@a",
    "heads/x",
    "#1",
]
NO_BRANCHES = [
    *("", "-x", ".x", "/x", "x/", "x.", "x.lock", "a/x.lock", "a.lock/b", "a..b", "a//b", "a/.b", "@", "HEAD"),
    *("a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a\\b", "a\tb", "a\nb", "a\x7fb", "a@{b", "@{-1}", "a/"),
]


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch(branch: str) -> None:
    assert manifest(branch=branch, base_branch=branch).spec.branch == branch
    assert git_accepts(branch)


@pytest.mark.parametrize("branch", [*NO_BRANCHES, "a\0b", "ü" * 101])
@pytest.mark.parametrize("field", ["branch", "base_branch"])
def test_no_branch(field: str, branch: str) -> None:
    where, message = refused(**{field: branch})
    assert where == f"spec.{field}"
    assert repr(branch) in message
    assert "for example 'feature/login'" in message


@given(st.text(st.sampled_from("ab./-@{}~^:?*[\\ HEADlock\x7fü"), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_what_is_accepted_as_a_branch_is_accepted_by_git(branch: str) -> None:
    try:
        manifest(branch=branch)
    except ValidationError:
        assume(False)
    assert git_accepts(branch)


# Environment and arguments --------------------------------------------------------------------------------------


def test_an_environment() -> None:
    env = {"EDITOR": "vi", "_x": "", "HTTP_PROXY": "http://[::1]:3128", "MULTI": "line\nline", "CLAUDE_CODE_X": "1"}
    assert manifest(env=env).spec.env == env


@pytest.mark.parametrize("name", ["", "1A", "A B", "A=B", "A-B", "Ä", "A\n"])
def test_no_variable(name: str) -> None:
    assert refused(env={name: "x"}) == ("spec.env", f"Value error, {name!r} is not a name for an environment variable")


@pytest.mark.parametrize(
    "name",
    [
        *("HOME", "PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "TMUX", "TMUX_TMPDIR"),
        *("CCO_INSTANCE", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR"),
        *("GIT_DIR", "GIT_WORK_TREE"),
    ],
)
def test_a_reserved_variable(name: str) -> None:
    field, message = refused(env={name: "sk-ant-secret"})
    assert field == "spec.env"
    assert repr(name) in message
    assert "reserved" in message
    assert "sk-ant" not in message


def test_a_value_with_a_nul_and_too_many_variables() -> None:
    assert refused(env={"A": "x\0y"}) == ("spec.env", "Value error, the value of 'A' has a NUL character")
    assert refused(env={f"V{n}": "" for n in range(257)})[0] == "spec.env"


def test_arguments() -> None:
    args = ("--verbose", "--append-system-prompt", "be brief", "--max-turns=3", "-d")
    assert manifest(args=args).spec.args == args


@pytest.mark.parametrize(
    ("argument", "way_out"),
    [
        ("--session-id", "fixed by cc-orchestrator"),
        ("--session-id=x", "fixed by cc-orchestrator"),
        ("--resume", "by itself"),
        ("-r", "by itself"),
        ("--continue", "by itself"),
        ("-c", "by itself"),
        ("--permission-mode=plan", "spec.permission_mode"),
        ("--dangerously-skip-permissions", "bypassPermissions"),
        ("--model", "spec.model"),
        ("--print", "interactive"),
        ("-p", "interactive"),
        ("x\0y", "NUL"),
    ],
)
def test_no_argument(argument: str, way_out: str) -> None:
    field, message = refused(args=["--verbose", argument])
    assert field == "spec.args"
    assert way_out in message
    assert "\0" in argument or repr(argument.partition("=")[0]) in message


def test_a_short_flag_with_its_value_is_seen_through() -> None:
    assert "'-r' cannot be" in refused(args=["-rSESSION"])[1]


def test_too_many_arguments() -> None:
    assert refused(args=["--verbose"] * 65)[0] == "spec.args"


# Resources ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512Mi", GiB // 2),
        ("2g", 2 * GiB),
        ("2G", 2 * GiB),
        ("1.5GiB", GiB * 3 // 2),
        (" 1 gb ", GiB),
        ("1073741824", GiB),
        (GiB, GiB),
        ("1Ti", 1024 * GiB),
        ("65536K", 64 * 1024**2),
    ],
)
def test_an_amount_of_memory(text: object, expected: int) -> None:
    assert manifest(resources={"memory": text}).spec.resources.memory == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "much",
        "2 gigabytes",
        "-1Gi",
        "1e9",
        "1,5Gi",
        "Gi",
        "2Gi2",
        "0x10",
        "9" * 21,
        "٢Gi",
        "64000000i",
        "64000000ib",
        None,
        True,
        1.5,
        [],
    ],
)
def test_no_amount_of_memory(text: object) -> None:
    field, message = refused(resources={"memory": text})
    assert field == "spec.resources.memory"
    assert repr(text) in message
    assert "'512Mi'" in message


@pytest.mark.parametrize("text", ["63Mi", "0", 0, -1, "2"])
def test_too_little_memory(text: object) -> None:
    field, message = refused(resources={"memory": text})
    assert field == "spec.resources.memory"
    assert "64Mi" in message


@pytest.mark.parametrize("text", ["1025Ti", "99999999999999999999Ti", 2**60])
def test_more_memory_than_there_is(text: object) -> None:
    field, message = refused(resources={"memory": text})
    assert field == "spec.resources.memory"
    assert "more than any machine has" in message


@pytest.mark.parametrize(
    ("resources", "field"),
    [
        ({"cpus": 0}, "spec.resources.cpus"),
        ({"cpus": 0.04}, "spec.resources.cpus"),
        ({"cpus": 1025}, "spec.resources.cpus"),
        ({"cpus": float("nan")}, "spec.resources.cpus"),
        ({"cpus": float("inf")}, "spec.resources.cpus"),
        ({"pids": 15}, "spec.resources.pids"),
        ({"pids": 32769}, "spec.resources.pids"),
        ({"disk": "1Mi"}, "spec.resources.disk"),
        ({"disc": "1Gi"}, "spec.resources.disc"),
    ],
)
def test_no_resources(resources: dict[str, object], field: str) -> None:
    assert refused(resources=resources)[0] == field


def test_processors_are_kept_as_the_engine_keeps_them() -> None:
    assert [Resources(cpus=cpus).cpus for cpus in (0.05, 1.0, 1.2345, 1024)] == [0.05, 1.0, 1.234, 1024]


# The rest of a spec ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"repositroy": "shop"}, "spec.repositroy"),
        ({"model": ""}, "spec.model"),
        ({"model": "-opus"}, "spec.model"),
        ({"model": "opus; rm"}, "spec.model"),
        ({"layout": "a b"}, "spec.layout"),
        ({"image": "--privileged"}, "spec.image"),
        ({"image": "a b"}, "spec.image"),
        ({"image": "x" * 256}, "spec.image"),
        ({"permission_mode": "yolo"}, "spec.permission_mode"),
        ({"operating_mode": "running"}, "spec.operating_mode"),
        ({"restart_policy": "Sometimes"}, "spec.restart_policy"),
        ({"worktree_policy": "Burn"}, "spec.worktree_policy"),
        ({"restart_generation": -1}, "spec.restart_generation"),
        ({"prompt": "x" * 200_001}, "spec.prompt"),
        ({"prompt": "x\0y"}, "spec.prompt"),
    ],
)
def test_no_spec(spec: dict[str, object], field: str) -> None:
    assert refused(**spec)[0] == field


@pytest.mark.parametrize("model", ["opus", "claude-opus-4-1-20250805", "opus[1m]", "us.anthropic.claude:0"])
def test_a_model(model: str) -> None:
    assert manifest(model=model).spec.model == model


def test_a_first_prompt_is_kept_as_it_is() -> None:
    assert manifest(prompt=" go on\n\tplease ").spec.prompt == " go on\n\tplease "


def test_claude_code_s_own_name_for_the_manual_mode_is_understood() -> None:
    assert manifest(permission_mode="default").spec.permission_mode == "manual"
    assert InstanceDefaults.model_validate({"permission_mode": "default"}).permission_mode == "manual"


def test_a_kind_must_be_the_right_one() -> None:
    with pytest.raises(ValidationError, match="kind"):
        InstanceManifest.model_validate({"kind": "Pod", "metadata": {"name": "web"}, "spec": {"repository": "shop"}})


def test_defaults_fill_what_was_left_out_and_nothing_else() -> None:
    defaults = InstanceDefaults(model="opus", env={"A": "1"}, layout=None, image="theirs:1")
    given_spec = InstanceSpec.model_validate({"repository": "shop", "image": None, "model": "haiku"})
    spec = given_spec.with_defaults(defaults)
    assert (spec.model, spec.env, spec.layout, spec.image) == ("haiku", {"A": "1"}, "default", None)


# Repositories, prompts, times -----------------------------------------------------------------------------------


def repository(path: str) -> str:
    body = {"metadata": {"name": "shop"}, "spec": {"path": path}}
    return RepositoryManifest.model_validate(body).spec.path


@pytest.mark.parametrize(("path", "kept"), [("/a/b", "/a/b"), ("/a//b/", "/a/b"), ("/", "/"), ("/a b/ü", "/a b/ü")])
def test_a_path(path: str, kept: str) -> None:
    assert repository(path) == kept


@pytest.mark.parametrize("path", ["", "a/b", "./a", "~/a", "/a/../b", "/..", "/a\0b", "file:///a"])
def test_no_path(path: str) -> None:
    with pytest.raises(ValidationError) as caught:
        repository(path)
    (error,) = caught.value.errors()
    assert error["loc"] == ("spec", "path")
    assert repr(path) in error["msg"]
    assert "full path" in error["msg"]


@pytest.mark.parametrize("text", ["", "x" * (MAX_INPUT_CHARACTERS + 1)])
def test_no_prompt(text: str) -> None:
    with pytest.raises(ValidationError, match="text"):
        Input(id="1", instance="web", uid="u", text=text, created_at=datetime.now(UTC))


@pytest.mark.parametrize("zone", [None, UTC, timezone(timedelta(hours=2))])
def test_every_instant_is_in_utc(zone: timezone | None) -> None:
    instant = TypeAdapter(Timestamp).validate_python(datetime(2026, 1, 1, 12, tzinfo=zone))
    assert instant.utcoffset() == timedelta(0)
    assert instant.hour == (10 if zone not in {None, UTC} else 12)
