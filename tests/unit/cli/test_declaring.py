"""init, spawn, apply and diff against the real API and loop."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from controller.errors import Unavailable
from support.command_line import Cco
from support.installation import Installation
from ui.cli.example import example_manifest
from ui.cli.exit_codes import ExitCode


def test_init_registers_writes_an_example_and_says_what_is_next(
    installation: Installation, cco: Cco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = installation.repository(tmp_path / "My Shop")
    deep = path / "src"
    deep.mkdir()
    monkeypatch.chdir(deep)
    text = cco.ok("init", "--base-branch", "main")
    assert f"repository/my-shop registered: {path}" in text
    assert "cco spawn first" in text
    assert "cco apply -f" in text
    stored = installation.store.repositories.get("my-shop")
    assert (stored.spec.path, stored.spec.base_branch) == (str(path), "main")
    example = path / "cc-orchestrator.yaml"
    assert "repository: my-shop" in example.read_text()

    example.write_text("# mine\n")
    assert "is registered already" in cco.ok("init", str(path))
    assert example.read_text() == "# mine\n"
    assert "instance/first created" in cco.ok("apply", "-f", _example(tmp_path, "my-shop"))


def _example(folder: Path, repository: str) -> str:
    file = folder / "example.yaml"
    file.write_text(example_manifest(repository))
    return str(file)


def test_init_without_a_manifest_and_with_a_name(installation: Installation, cco: Cco, tmp_path: Path) -> None:
    path = installation.repository(tmp_path / "shop")
    cco.ok("init", str(path), "--name", "store", "--no-manifest")
    assert not (path / "cc-orchestrator.yaml").exists()
    assert "registered already, as 'store'" in cco.fails(ExitCode.CONFLICT, "init", str(path), "--name", "other")
    assert "changed" in cco.ok("init", str(path), "--base-branch", "main")
    other = installation.repository(tmp_path / "elsewhere")
    error = cco.fails(ExitCode.CONFLICT, "init", str(other), "--name", "store")
    assert f"'store' is taken by {path}" in error
    assert "not a valid name" in cco.fails(ExitCode.INVALID, "init", str(other), "--name", "No_Name")


def test_init_tells_what_is_wrong_with_the_repository(installation: Installation, cco: Cco, tmp_path: Path) -> None:
    assert "no such folder" in cco.fails(ExitCode.NOT_FOUND, "init", str(tmp_path / "none"))
    assert "not inside a git repository" in cco.fails(ExitCode.NOT_FOUND, "init", str(tmp_path))
    path = installation.repository(tmp_path / "empty")
    installation.world.git.add_repository(str(path), head=None)
    error = cco.fails(ExitCode.FAILED, "init", str(path))
    assert "EmptyRepository" in error
    assert "git commit" in error
    other = installation.repository(tmp_path / "other")
    error = cco.fails(ExitCode.FAILED, "init", str(other), "--base-branch", "x")
    assert "no branch of" in error
    assert "mend it and run 'cco init --base-branch BRANCH' again" in error


@pytest.mark.parametrize(("before", "told"), [("main", "'main' again"), (None, "the branch HEAD is on again")])
def test_init_with_a_base_branch_that_is_none_leaves_a_good_registration(
    installation: Installation, cco: Cco, tmp_path: Path, before: str | None, told: str
) -> None:
    path = installation.repository(tmp_path / "shop")
    cco.ok("init", str(path), *(("--base-branch", before) if before is not None else ()))
    error = cco.fails(ExitCode.FAILED, "init", str(path), "--base-branch", "nope")
    assert "'nope' is no branch of" in error
    assert f"Its base branch is {told}" in error
    assert "cco init --base-branch BRANCH, with a branch that exists" in error
    assert installation.store.repositories.get("shop").spec.base_branch == before
    assert "is registered already" in cco.ok("init", str(path))


def test_init_proposes_a_name_that_is_free(installation: Installation, cco: Cco, shop: Path) -> None:
    installation.ready("first", prompt="mine")
    text = cco.ok("init", str(shop))
    assert "cco spawn first-2 -p" in text
    assert "instance/first-2 created" in cco.ok("apply", "-f", "cc-orchestrator.yaml")
    assert installation.world.get("first").spec.prompt == "mine"
    again = cco.ok("init", str(shop))
    assert "cco apply" not in again
    assert "cco diff -f cc-orchestrator.yaml" in again


def test_the_example_belongs_to_whom_the_repository_belongs_to(
    installation: Installation, cco: Cco, tmp_path: Path
) -> None:
    path = installation.repository(tmp_path / "shop")
    if os.geteuid() == 0:
        os.chown(path, 12345, 12346)
    cco.ok("init", str(path))
    owners = [(each.stat().st_uid, each.stat().st_gid) for each in (path, path / "cc-orchestrator.yaml")]
    assert owners[0] == owners[1]


def test_init_prints_warnings_and_can_be_too_early(installation: Installation, cco: Cco, tmp_path: Path) -> None:
    path = installation.repository(tmp_path / "shop")
    git = installation.world.git
    git.repositories[str(path)] = replace(git.repositories[str(path)], warnings=("submodules are not filled",))
    result = cco("init", str(path))
    assert result.exit_code == 0
    assert "warning: submodules are not filled" in result.stderr
    installation.resting = True
    other = installation.repository(tmp_path / "late")
    error = cco.fails(ExitCode.TIMEOUT, "init", str(other), "--timeout", "0.3s")
    assert "the controller has not done so" in error
    assert "registered" in cco.ok("init", str(other), "--no-wait")


def test_spawn_from_inside_the_repository(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    result = cco(
        *("spawn", "web", "-p", "Say hello", "-b", "feature/x", "--model", "opus", "--cpus", "1.5", "--memory", "1Gi"),
        *("--pids", "200", "--env", "A=b=c", "--label", "team=web", "--arg=--verbose", "--permission-mode", "plan"),
    )
    assert result.exit_code == 0, result.output
    spec = installation.world.get("web").spec
    assert (spec.repository, spec.branch, spec.prompt, spec.model) == ("shop", "feature/x", "Say hello", "opus")
    assert (spec.resources.cpus, spec.resources.memory, spec.resources.pids) == (1.5, 2**30, 200)
    assert (spec.env, spec.args, spec.permission_mode.value) == ({"A": "b=c"}, ("--verbose",), "plan")
    assert installation.world.get("web").metadata.labels == {"team": "web"}
    steps = [line.split()[2:4] for line in result.stderr.splitlines()]
    done = [name for name, state, *_ in steps if state.startswith("done")]
    assert done == ["workspace", "container", "session", "ready"]
    assert "instance/web is IDLE" in result.stdout
    for hint in ("cco attach web", "cco send web", "feature/x", str(shop.parent / "shop.worktrees" / "web")):
        assert hint in result.stdout


def test_spawn_names_the_runtime_and_describe_tells_it(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.resting = True
    cco.ok("spawn", "web", "--runtime", "process", "--no-wait")
    cco.ok("spawn", "api", "--image", "other:1", "--no-wait")
    assert installation.world.get("web").spec.runtime == "process"
    carried = {name: cco.ok("describe", "instance", name) for name in ("web", "api")}
    assert re.search(r"Runtime: +process$", carried["web"], re.MULTILINE)
    assert "Image:" not in carried["web"]
    assert re.search(r"Runtime: +\(the setting runtime\)$", carried["api"], re.MULTILINE)
    assert re.search(r"Image: +other:1$", carried["api"], re.MULTILINE)
    error = cco.fails(ExitCode.INVALID, "spawn", "x", "--runtime", "Not one")
    assert "--runtime: 'Not one': String should match" in error


def test_spawn_leaves_the_repository_its_defaults(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    patch = {"spec": {"path": str(shop), "defaults": {"model": "haiku"}}}
    file = shop / "r.yaml"
    file.write_text(yaml.safe_dump({"kind": "Repository", "metadata": {"name": "shop"}, **patch}))
    cco.ok("apply", "-f", str(file))
    cco.ok("spawn", "web", "--no-wait")
    assert installation.world.get("web").spec.model == "haiku"


def test_spawn_reads_a_long_prompt_verbatim(installation: Installation, cco: Cco, shop: Path) -> None:
    prompt = "Zeile 1\n\n  'quoted' \"twice\" $HOME `x` \\n ü 日本\n" * 300
    (shop / "prompt.txt").write_text(prompt, encoding="utf-8")
    cco.ok("spawn", "web", "--prompt-file", "prompt.txt", "--no-wait")
    assert installation.world.get("web").spec.prompt == prompt
    cco.ok("spawn", "api", "-p", "-", "--no-wait", stdin=prompt)
    assert installation.world.get("api").spec.prompt == prompt


def test_spawn_prints_what_was_asked_for(installation: Installation, cco: Cco, shop: Path) -> None:
    assert installation.address
    assert shop.is_dir()
    assert json.loads(cco.ok("spawn", "web", "-o", "json"))["status"]["session"]["state"] == "idle"
    assert cco.ok("spawn", "api", "-o", "name") == "instance/api\n"
    assert "cco why other" in cco.ok("spawn", "other", "--no-wait")


REFUSED: list[tuple[list[str], ExitCode, str]] = [
    (["Web"], ExitCode.INVALID, "NAME: 'Web' is not a valid name"),
    (["web", "--memory", "lots"], ExitCode.INVALID, "--memory: 'lots' is not an amount of bytes"),
    (["web", "--cpus", "0"], ExitCode.INVALID, "--cpus: 0.0 is not a number of CPUs"),
    (["web", "-b", "a..b"], ExitCode.INVALID, "--branch: 'a..b' is not a branch name"),
    (["web", "--env", "PATH=x"], ExitCode.INVALID, "'PATH' is reserved"),
    (["web", "--arg", "--model"], ExitCode.INVALID, "--arg: '--model' cannot be an extra argument"),
    (["web", "--repository", "shp"], ExitCode.INVALID, "did you mean 'shop'?"),
    (["web", "--env", "NOT_SET_ANYWHERE"], ExitCode.USAGE, "NOT_SET_ANYWHERE is not set here"),
    (["web", "--label", "team"], ExitCode.USAGE, "'team' is not K=V"),
    (["web", "-p", "x", "--prompt-file", "y"], ExitCode.USAGE, "either as text or as a file"),
    (["web", "-p", " "], ExitCode.USAGE, "the prompt is empty"),
    (["web", "--prompt-file", "none.txt"], ExitCode.NOT_FOUND, "none.txt: there is no such file"),
]


def test_spawn_refuses_with_option_value_and_way_out(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    for arguments, code, phrase in REFUSED:
        assert phrase in cco.fails(code, "instance", "spawn", *arguments), arguments
    assert installation.store.instances.names() == []


def test_spawn_outside_of_a_registered_repository(
    installation: Installation, cco: Cco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--repository" in cco.fails(ExitCode.NOT_FOUND, "spawn", "web")
    path = installation.repository(tmp_path / "new")
    monkeypatch.chdir(path)
    assert f"next: cco init {path}" in cco.fails(ExitCode.NOT_FOUND, "spawn", "web")


def test_spawn_twice_is_a_conflict(installation: Installation, cco: Cco, shop: Path) -> None:
    assert installation.address
    assert shop.is_dir()
    cco.ok("spawn", "web", "--no-wait")
    assert "web" in cco.fails(ExitCode.CONFLICT, "spawn", "web")
    assert "belongs to instance 'web'" in cco.fails(ExitCode.CONFLICT, "spawn", "other", "-b", "web")


def test_spawn_stops_with_the_reason_when_it_cannot_become_ready(
    installation: Installation, cco: Cco, shop: Path
) -> None:
    assert shop.is_dir()
    error = cco.fails(ExitCode.FAILED, "spawn", "web", "--image", "nosuch:1")
    assert "container failed: ImageNotFound" in error
    assert "error: instance/web (ImageNotFound): " in error
    assert "cco retry web" in error
    installation.world.credentials = False
    error = cco.fails(ExitCode.FAILED, "spawn", "api")
    assert "CredentialsMissing" in error
    assert "ANTHROPIC_API_KEY" in error


def test_spawn_outlasts_a_hiccup(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.world.engine.fail_next("create", Unavailable("RuntimeUnavailable", "a test switched it off"))
    assert "instance/web is IDLE" in cco.ok("spawn", "web")


def test_spawn_times_out_with_how_it_is(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.resting = True
    error = cco.fails(ExitCode.TIMEOUT, "spawn", "web", "--timeout", "0.3s")
    assert "waited 0.3 s until it is ready; it is STARTING (Pending)" in error
    assert "cco why web" in error


FLEET = """\
kind: Instance
metadata: {{name: web}}
spec: {{repository: store, resources: {{cpus: {cpus}}}}}
---
kind: Repository
metadata: {{name: store}}
spec: {{path: {path}}}
"""


def test_apply_diff_and_delete_of_a_fleet(installation: Installation, cco: Cco, tmp_path: Path) -> None:
    path = installation.repository(tmp_path / "store")
    file = tmp_path / "fleet.yaml"
    file.write_text(FLEET.format(cpus=1, path=path))

    difference = cco("diff", "-f", str(file))
    assert difference.exit_code == ExitCode.GENERAL
    assert "instance/web would be created, after its repository" in difference.stdout
    assert "+++ repository/store (applied)" in difference.stdout
    assert "would be created" in cco.ok("apply", "-f", str(file), "--dry-run")
    assert installation.store.repositories.names() == []

    text = cco.ok("apply", "-f", str(file), "--wait")
    assert text.splitlines() == ["repository/store created", "instance/web created", "instance/web is as declared"]
    assert cco.ok("apply", "-f", str(file)).splitlines() == ["repository/store unchanged", "instance/web unchanged"]
    assert cco("diff", "-f", str(file)).output == ""

    file.write_text(FLEET.format(cpus=2, path=path))
    difference = cco("diff", "-f", str(file))
    assert difference.exit_code == ExitCode.GENERAL
    assert [line for line in difference.stdout.splitlines() if line[1:2] == " "][-2:] != []
    assert "-    cpus: 1.0" in difference.stdout
    assert "+    cpus: 2.0" in difference.stdout
    assert "instance/web configured (spec.resources.cpus) (dry run)" in cco.ok("apply", "-f", str(file), "--dry-run")
    assert installation.world.get("web").spec.resources.cpus == 1
    assert "instance/web configured (spec.resources.cpus)" in cco.ok("apply", "-f", "-", stdin=file.read_text())

    assert cco.ok("delete", "-f", str(file)).splitlines()[0] == "instance/web deleted"
    assert installation.store.repositories.names() == []


def test_apply_reads_everything_before_it_changes_anything(
    installation: Installation, cco: Cco, tmp_path: Path
) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(
        FLEET.format(cpus=1, path="/store") + "---\nkind: Instance\nmetadata: {name: api}\nspec: {repo: x}\n"
    )
    error = cco.fails(ExitCode.INVALID, "apply", "-f", str(file))
    assert f"{file}:11: spec.repo: unknown field; did you mean 'repository'?" in error
    assert installation.store.repositories.names() == []


def test_apply_goes_on_after_a_refused_one_and_tells(installation: Installation, cco: Cco, shop: Path) -> None:
    text = "\n---\n".join(
        json.dumps({"kind": "Instance", "metadata": {"name": name}, "spec": {"repository": repository}})
        for name, repository in (("a", "none"), ("b", "shop"), ("c", "none"))
    )
    (shop / "fleet.yaml").write_text(text)
    result = cco("apply", "-f", "fleet.yaml")
    assert result.exit_code == ExitCode.INVALID
    assert "instance/b created" in result.stdout
    assert "error: instance/a: spec.repository: 'none' is not registered" in result.stderr
    assert "error: instance/c: " in result.stderr
    assert installation.store.instances.names() == ["b"]


def test_what_get_printed_can_be_applied(installation: Installation, cco: Cco, shop: Path) -> None:
    assert shop.is_dir()
    installation.ready("web", prompt="one\ntwo\n", env={"A": "1"}, args=["--verbose"])
    for kind in ("instances", "repositories"):
        printed = cco.ok("get", kind, "-o", "yaml")
        assert "unchanged" in cco.ok("apply", "-f", "-", stdin=printed)
