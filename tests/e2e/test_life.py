"""The whole life of an instance with the real client: what an owner sees in the repository, the CLI and the screen."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from support.deadline import eventually
from support.host_system import System, git, make_repository

pytestmark = [pytest.mark.docker, pytest.mark.timeout(240)]

COMMIT = "STEP bash echo one > one.txt && git add one.txt && git commit -qm 'Add one' STEP say committed"


def spawn(system: System, name: str, repository: Path, *options: str, prompt: str = COMMIT) -> None:
    arguments = ("--repository", repository.name, "--permission-mode", "bypassPermissions", "--prompt", prompt)
    system.cco("spawn", name, *arguments, *options)


def test_from_apply_to_delete(system: System, repository: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(
        f"""\
kind: Instance
metadata:
  name: life
  labels: {{team: shop}}
spec:
  repository: {repository.name}
  branch: feature/life
  permission_mode: bypassPermissions
  prompt: {COMMIT}
""",
        encoding="utf-8",
    )
    assert system.run_cco("diff", "-f", str(manifest)).returncode == 1
    system.cco("apply", "-f", str(manifest))
    system.wait("life", "condition=Ready")
    assert "unchanged" in system.cco("apply", "-f", str(manifest))

    # Claude commits; the commit comes home while the instance runs on.
    head = eventually(
        lambda: git(repository, "log", "-1", "--format=%s", "feature/life") == "Add one",
        timeout=30,
        what="the commit is on the branch in the user's repository",
    )
    assert head
    worktree = Path(system.get("life")["status"]["workspace"]["path"])
    assert (worktree / "one.txt").read_text() == "one\n"
    assert git(worktree, "status", "--porcelain") == ""
    assert str(worktree) in git(repository, "worktree", "list")

    # Killed: Ready again, with the same conversation.
    system.state_becomes("life", "idle")
    conversation = system.get("life")["status"]["session"]["session_id"]
    container = system.container("life")
    subprocess.run(["docker", "kill", container], check=True, capture_output=True, timeout=30)
    eventually(lambda: system.get("life")["status"]["restarts"] == 1, timeout=30, what="the kill was noticed")
    system.state_becomes("life", "idle")
    after = system.get("life")
    assert after["status"]["session"]["session_id"] == conversation
    assert after["status"]["last_exit"]["reason"] == "Killed"

    # Suspended and resumed: the same container, and Claude remembers.
    system.cco("instance", "suspend", "life")
    system.wait("life", "state=STOPPED")
    running = ["docker", "inspect", "--format", "{{.State.Running}}", container]
    assert subprocess.run(running, check=True, capture_output=True, text=True, timeout=30).stdout.strip() == "false"
    system.cco("instance", "resume", "life")
    system.wait("life", "condition=Ready")
    assert system.container("life") == container
    system.cco("send", "life", "STEP say remembered")
    eventually(lambda: "remembered" in system.screen("life"), timeout=30, what="Claude answers after the resume")
    newest = system.model.requests()[-1]
    assert any("Add one" in prompt for prompt in newest["prompts"]), "the request carries the conversation from before"

    # Deleted: nothing is left but the work.
    (worktree / "half-done.txt").write_text("precious\n", encoding="utf-8")
    system.cco("delete", "instance", "life")
    assert not worktree.exists()
    assert git(repository, "log", "-1", "--format=%s", "feature/life") == "Add one"
    (snapshot,) = git(repository, "for-each-ref", "--format=%(refname)", "refs/cco/snapshots/life").splitlines()
    assert git(repository, "show", f"{snapshot}:half-done.txt") == "precious"
    left = ["docker", "ps", "-aq", "--filter", f"name=^/{system.prefix}-life-"]
    assert subprocess.run(left, check=True, capture_output=True, text=True, timeout=30).stdout == ""
    assert not (system.state_dir / "instances" / "life").exists()


def test_a_long_prompt_arrives_to_the_letter(system: System, repository: Path) -> None:
    spawn(system, "long", repository, prompt="STEP say hello")
    system.state_becomes("long", "idle")
    lines = [f"line {number}: 'quotes' \"double\" $HOME `tick` \\ {{}} é ✓ <tag>" for number in range(200)]
    text = "\n".join(["Please read this.", *lines])
    assert len(text) > 9_000
    system.cco("send", "long", "-", stdin=text)
    eventually(lambda: text in system.model.prompts(), timeout=30, what="the model got the prompt to the letter")


def test_nothing_is_typed_into_a_permission_dialog(system: System, repository: Path) -> None:
    arguments = ("--repository", repository.name, "--permission-mode", "manual")
    system.cco("spawn", "asks", *arguments, "--prompt", "STEP bash touch forbidden.txt STEP say done")
    system.state_becomes("asks", "waiting")
    assert system.get("asks")["status"]["session"]["waiting_for"] == "permission prompt"
    late = system.run_cco("send", "asks", "STEP say later", "--timeout=3s")
    assert late.returncode == 7, late.stderr
    assert not (Path(system.get("asks")["status"]["workspace"]["path"]) / "forbidden.txt").exists()
    assert "Do you want to proceed" in system.screen("asks")
    system.docker_exec("asks", "tmux", "send-keys", "-t", "=cc-orchestrator-asks:claude", "Escape")
    eventually(lambda: "later" in system.screen("asks"), timeout=30, what="the prompt is typed when the dialog is gone")


def test_attach_is_a_tmux_client_on_claudes_session(system: System, repository: Path) -> None:
    spawn(system, "seen", repository, prompt="STEP say look at me")
    system.state_becomes("seen", "idle")
    argv = system.cco("attach", "seen", "--print").split()
    assert argv[:3] == ["docker", "exec", "-it"]
    listed = system.docker_exec("seen", "tmux", "list-windows", "-t", "=cc-orchestrator-seen", "-F", "#{window_name}")
    assert listed.stdout.split() == ["claude", "shell"]
    command = ["script", "-qec", " ".join(argv), "/dev/null"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        eventually(
            lambda: system.get("seen")["status"]["session"]["clients"] == 1, timeout=20, what="the client is counted"
        )
        client.communicate(b"\x02d", timeout=20)
    eventually(lambda: system.get("seen")["status"]["session"]["clients"] == 0, timeout=20, what="it has left")
    assert system.condition("seen")["status"] == "True"


def test_the_key_is_in_no_place_it_could_leak_from(system: System, repository: Path) -> None:
    key = system.environment["ANTHROPIC_API_KEY"]
    spawn(system, "secret", repository, prompt="STEP say hello")
    system.state_becomes("secret", "idle")
    inspect = ["docker", "inspect", system.container("secret")]
    assert key not in subprocess.run(inspect, check=True, capture_output=True, text=True, timeout=30).stdout
    assert key not in system.docker_exec("secret", "ps", "-eo", "args").stdout
    assert key not in system.logs()
    assert key not in system.cco("get", "instances", "-o", "json") + system.cco("config", "show", "-o", "json")
    assert key.encode() not in b"".join(path.read_bytes() for path in system.state_dir.glob("state.db*"))
    modes = system.docker_exec("secret", "sh", "-c", "stat -c '%a %u' /run/secrets/*").stdout.split("\n")
    assert set(filter(None, modes)) == {"400 1000"}


def test_a_repository_in_the_home_of_whoever_runs_this(system: System) -> None:
    """Root's home is one that the image has too, and closed to others by default."""
    with tempfile.TemporaryDirectory(prefix=".cco-test-", dir=Path.home()) as folder:
        made = make_repository(Path(folder) / "homely")
        system.cco("init", str(made), "--name", "homely", "--no-manifest")
        system.cco("spawn", "homely", "--repository", "homely", "--permission-mode", "bypassPermissions", "-p", COMMIT)
        eventually(
            lambda: git(made, "log", "-1", "--format=%s", "homely") == "Add one", timeout=60, what="Claude committed"
        )
        system.cco("delete", "instance", "homely")
        system.cco("delete", "repository", "homely")


@pytest.mark.parametrize(
    ("options", "reason", "word"),
    [
        (("--base-branch", "nosuch"), "BaseBranchNotFound", "nosuch"),
        (("--branch", "main"), "BranchCheckedOutElsewhere", "main"),
        (("--image", "nosuch:1"), "ImageNotFound", "nosuch:1"),
        (("--cpus", "512"), "InvalidLimits", "cpus"),
    ],
)
def test_what_cannot_be_says_why_and_leaves_nothing(
    system: System, repository: Path, options: tuple[str, ...], reason: str, word: str
) -> None:
    name = reason.lower()[:20]
    done = system.run_cco("spawn", name, "--repository", repository.name, *options)
    assert done.returncode == 8, done.stderr
    assert word in done.stderr
    assert system.condition(name)["reason"] == reason
    left = ["docker", "ps", "-aq", "--filter", f"name=^/{system.prefix}-{name}-"]
    assert subprocess.run(left, check=True, capture_output=True, text=True, timeout=30).stdout == ""
