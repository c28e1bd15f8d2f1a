"""What is decided in files rather than at run time: no shell, git's options ended, the socket in one place, hashes."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.workspace.git import Git, GitFailed

ROOT = Path(__file__).parents[3]
PRODUCT = ("controller", "api", "ui", "containers")
SHELL_RULES = ("S602", "S604", "S605", "S607")
"""Ruff's names for bandit's B602, B604, B605 and B607: no shell, and no program by a name alone."""

GIT_WORDS = {
    # expression: why it can be no option
    "*_COMPARE": "constants of ours",
    "*command": "constants of ours",
    "_STRICT": "a constant of ours",
    "_REFLOG_MESSAGE": "a constant of ours",
    "kept": "begins with --glob=",
    "pack": "an absolute path of ours",
}
"""What may stand before ``--end-of-options`` although it is no text in the source."""


def ruff(*arguments: str, stdin: str | None = None) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json", *arguments]
    done = subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_nothing_is_run_by_a_shell_and_no_comment_allows_it() -> None:
    assert ruff("--select", ",".join(SHELL_RULES), "--ignore-noqa", *PRODUCT) == []


@pytest.mark.parametrize("folder", PRODUCT)
def test_make_check_would_find_a_shell(folder: str) -> None:
    """With our own configuration: the rules are on and no list of exceptions has them."""
    lines = ("import os, subprocess", 'subprocess.run("ls", shell=True)', 'os.system("ls")', 'subprocess.run(["ls"])')
    bad = "\n".join(lines)
    found = {each["code"] for each in ruff("--stdin-filename", f"{folder}/bad.py", "-", stdin=bad)}
    assert {"S602", "S605", "S607"} <= found


def git_calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted((ROOT / "controller").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"run", "feed"}
                and "git" in ast.unparse(node.func.value).lower()
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def assigned(path: Path, name: str) -> list[ast.expr]:
    """Return the words of every tuple a file gives that name."""
    words: list[ast.expr] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            assert isinstance(node.value, ast.Tuple), f"{path}: {name}"
            words += node.value.elts
    return words


def loose_words(words: list[ast.expr], path: Path) -> Iterator[str]:
    """Yield what git could take for an option: no constant, and not behind the end of options."""
    for word in words:
        if isinstance(word, ast.Constant):
            if word.value in {"--", "--end-of-options"}:
                return
        elif ast.unparse(word) == "*arguments":
            inner = assigned(path, "arguments")
            assert inner, path
            yield from loose_words([each for each in inner if not is_prefixed(each)], path)
        elif ast.unparse(word) not in GIT_WORDS and not is_prefixed(word):
            yield ast.unparse(word)


def is_prefixed(word: ast.expr) -> bool:
    """Tell whether a text begins with words of ours, so that it is one option with its value."""
    first = word.values[0] if isinstance(word, ast.JoinedStr) and word.values else None
    return isinstance(first, ast.Constant) and str(first.value).startswith("--") and "=" in str(first.value)


KNOWN_PLACES = {
    "os.path.join(folder, 'pack')": "an absolute path of ours",
    "reason": "the value of --reason, which git takes whatever it is",
    "f'{parent}:.gitmodules'": "the value of --blob, which git takes whatever it is",
}


def test_no_value_can_be_an_option_of_git() -> None:
    calls = list(git_calls())
    assert len(calls) > 40, "the search finds them"
    loose = {
        f"{place} {word}"
        for place, call in calls
        for word in loose_words(list(call.args), ROOT / place.partition(":")[0])
        if word not in KNOWN_PLACES
    }
    assert loose == set()


def test_git_is_started_in_one_place_only() -> None:
    starting = re.compile(r"""(?:Popen|run|call|check_output|execute)\(\s*\[?\s*["'(]+git["']""")
    places = [
        str(path.relative_to(ROOT))
        for folder in ("controller", "api")
        for path in (ROOT / folder).rglob("*.py")
        if starting.search(path.read_text(encoding="utf-8"))
    ]
    assert places == []
    assert "gitpython.Git" in (ROOT / "controller/workspace/git.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "address", ["file://{there}", "{there}", "ext::sh -c touch% {mark}", "ssh://127.0.0.1/x", "http://127.0.0.1/x"]
)
def test_git_speaks_no_protocol(tmp_path: Path, address: str) -> None:
    """Whatever a repository's configuration names, nothing is fetched and nothing is run for it."""
    there, mark, here = tmp_path / "there", tmp_path / "mark", tmp_path / "here"
    for folder in (there, here):
        subprocess.run(["git", "init", "-q", "--template=", str(folder)], check=True, timeout=60)
    git = Git(str(here / ".git"), (os.geteuid(), os.getegid()))
    with pytest.raises(GitFailed, match="not allowed"):
        git.run("fetch", "--end-of-options", address.format(there=there, mark=mark))
    assert not mark.exists()


def compose(name: str) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["services"]
    return services


def test_only_the_controller_has_the_engines_socket_and_it_has_no_network() -> None:
    services = compose("compose.yaml")
    holders = {name for name, service in services.items() if "docker.sock" in json.dumps(service.get("volumes", []))}
    assert holders == {"controller"}
    assert services["controller"]["network_mode"] == "none"
    assert "ports" not in services["controller"]
    assert services["controller"]["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.demo.yaml"])
def test_ports_are_published_on_this_machine_only(name: str) -> None:
    ports = [str(port) for service in compose(name).values() for port in service.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports), ports


def test_the_engine_we_install_listens_on_no_port() -> None:
    text = (ROOT / "scripts/engine.sh").read_text(encoding="utf-8")
    assert "dockerd" in text
    assert not re.search(r"tcp://|--host[ =]|\s-H\b", text)


@pytest.mark.parametrize("path", sorted((ROOT / "containers").glob("*/Dockerfile")), ids=lambda path: path.parent.name)
def test_images_install_only_what_has_a_hash(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"/pip .*?\binstall\b[^&\n]*|/pip install\b[^&\n]*", text)
    assert installs
    for install in installs:
        assert "--require-hashes" in install or {"--no-deps", "--no-index"} <= set(install.split()), install


def test_the_lock_makes_hashes() -> None:
    assert "--generate-hashes" in (ROOT / "scripts/lock.sh").read_text(encoding="utf-8")
    with (ROOT / "pyproject.toml").open("rb") as file:
        ignored = tomllib.load(file)["tool"]["ruff"]["lint"]["ignore"]
    assert not [rule for rule in ignored if rule.startswith("S")], "of bandit's rules, none is off everywhere"
