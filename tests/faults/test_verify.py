"""A check that cannot fail is a defect: each invariant is broken on purpose, and ``verify`` has to see it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from controller.resources import EventType, Kind
from controller.runtime.protocol import WorkloadState
from faults.baseline import Baseline, record
from faults.crash_world import Checkpoint, CrashWorld, crash_world
from faults.facts import MARK, Container, Engine, Thing, git, git_dir_of, read_facts
from faults.invariants import Verdict, no_hot_loop
from faults.verify import Measured, check, judge
from faults.workload import STEPS

Breaker = Callable[[CrashWorld], None]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CrashWorld, Checkpoint, Baseline]]:
    """An instance that is ready, with one commit, one draft, one instance more that is being deleted: all is well."""
    with crash_world() as world:
        for step in STEPS[:2]:
            step.act(world)
            world.work()
        world.user.agent_writes(world.ref(), "draft.txt", "precious\n")
        (world.user.repository / ".git" / "hooks").mkdir(exist_ok=True)
        (world.user.repository / ".git" / "hooks" / "pre-commit").write_text("#!/bin/sh\n", encoding="utf-8")
        checkpoint = world.checkpoint(tmp_path_factory.mktemp("verify") / "begun")
        yield world, checkpoint, record(facts_engine(world))


@pytest.fixture
def world(begun: tuple[CrashWorld, Checkpoint, Baseline]) -> CrashWorld:
    begun[0].go_back(begun[1])
    return begun[0]


@pytest.fixture
def baseline(begun: tuple[CrashWorld, Checkpoint, Baseline]) -> Baseline:
    return replace(begun[2], acknowledged=[*begun[2].acknowledged], drafts=[*begun[2].drafts])


STRANGER = Container("c" * 64, "stranger", "running", {}, "as it was")


def facts_engine(world: CrashWorld, **changes: object):  # type: ignore[no-untyped-def]  # noqa: ANN201
    engine = world.facts_of_engine()
    engine = replace(engine, containers=(*engine.containers, STRANGER), networks=(Thing("bridge", {}, "as it was"),))
    return read_facts(world.settings.state_dir, replace(engine, **changes))  # type: ignore[arg-type]


def violated(verdicts: list[Verdict]) -> set[str]:
    return {verdict.name for verdict in verdicts if not verdict.holds}


def sql(world: CrashWorld, statement: str, *values: object) -> None:
    world.store.close()
    with closing(sqlite3.connect(world.settings.database)) as connection, connection:
        connection.execute(statement, values)


def condition(world: CrashWorld, **changes: object) -> None:
    """Change the condition Ready behind the product's back."""
    status = json.loads(world.get().status.model_dump_json())
    for each in status["conditions"]:
        if each["type"] == "Ready":
            each.update(changes)
    sql(world, "UPDATE instances SET status = ?", json.dumps(status))


def test_nothing_is_violated_while_all_is_well(world: CrashWorld, baseline: Baseline, tmp_path: Path) -> None:
    verdicts = judge(facts_engine(world), baseline, Measured(overlaps=[], cpu=0.01, writes=[], starts={}))
    assert [verdict.name for verdict in verdicts] == [f"I{number}" for number in range(1, 9)]
    assert violated(verdicts) == set(), "\n".join(map(str, verdicts))
    assert all(verdict.measured for verdict in verdicts)
    baseline.save(tmp_path / "baseline.json")
    assert Baseline.load(tmp_path / "baseline.json") == baseline
    assert len(baseline.drafts) == 1
    assert sum(map(len, baseline.commits.values())) == 2


def a_row_goes(world: CrashWorld) -> None:
    sql(world, "DELETE FROM instances")


def a_spec_goes_back(world: CrashWorld) -> None:
    sql(world, "UPDATE instances SET generation = 0")


def a_spec_changes(world: CrashWorld) -> None:
    sql(world, "UPDATE instances SET spec = replace(spec, 'Begin', 'Stop')")


def the_database_is_damaged(world: CrashWorld) -> None:
    sql(world, "INSERT INTO inputs VALUES ('1', 'web', 'nobody', 'text', 'Pending', NULL, '2026-01-01 00:00:00', NULL)")


def a_commit_is_lost(world: CrashWorld) -> None:
    place = git_dir_of(str(world.user.repository))
    for name in git(place, "for-each-ref", "--format=%(refname)", "refs/cco", "refs/heads/web").splitlines():
        git(place, "update-ref", "-d", name)
    shutil.rmtree(world.settings.instance_dir("web") / "git")


def a_draft_is_lost(world: CrashWorld) -> None:
    (Path(world.ref().worktree) / "draft.txt").unlink()


def a_draft_is_written_over(world: CrashWorld) -> None:
    (Path(world.ref().worktree) / "draft.txt").write_text("gone\n", encoding="utf-8")


def two_run(world: CrashWorld) -> None:
    (container,) = world.engine.containers.values()
    world.engine.containers["cco-web-2"] = replace(container, seen=replace(container.seen, id="2", name="cco-web-2"))


def a_container_of_nobody(world: CrashWorld) -> None:
    (container,) = world.engine.containers.values()
    world.engine.containers["cco-old-1"] = replace(
        container,
        spec=replace(container.spec, uid="nobody"),
        seen=replace(container.seen, id="2", name="cco-old-1", state=WorkloadState.EXITED),
    )


def a_home_of_nobody(world: CrashWorld) -> None:
    world.engine.homes["cco-old-home"] = "nobody"


def a_folder_of_nobody(world: CrashWorld) -> None:
    (world.settings.state_dir / "instances" / "old").mkdir()


def a_worktree_of_nobody(world: CrashWorld) -> None:
    place = world.user.repository / ".git" / "worktrees" / "old"
    shutil.copytree(world.user.repository / ".git" / "worktrees" / "web", place)
    (place / "locked").write_text("cc-orchestrator old nobody\n", encoding="utf-8")


def a_workload_of_processes_of_nobody(world: CrashWorld) -> None:
    write_workload(world, uid="nobody")


def a_home_of_processes_of_nobody(world: CrashWorld) -> None:
    home = world.settings.state_dir / "process" / "homes" / "cco-old-home"
    home.mkdir(parents=True)
    owner = {"installation": world.store.installation_id, "uid": "nobody"}
    (home / "owner.json").write_text(json.dumps(owner), encoding="utf-8")


def write_workload(world: CrashWorld, uid: str) -> None:
    """Write what is known of a workload that is processes of this machine."""
    folder = world.settings.state_dir / "process" / "workloads"
    folder.mkdir(parents=True)
    known = {
        "id": "w1",
        "installation": world.store.installation_id,
        "uid": uid,
        "instance": "web",
        "name": "cco-web-1",
    }
    (folder / "cco-web-1.workload").write_text(json.dumps(known), encoding="utf-8")


def no_container(world: CrashWorld) -> None:
    world.engine.containers.clear()


def runs_although_suspended(world: CrashWorld) -> None:
    world.change(operating_mode="Suspended")
    sql(
        world, "UPDATE instances SET status = replace(status, '\"observed_generation\":1', '\"observed_generation\":2')"
    )


def a_users_branch_moves(world: CrashWorld) -> None:
    world.user.user_commits("main")


def a_users_file_changes(world: CrashWorld) -> None:
    (world.user.repository / "README.md").write_text("ours now\n", encoding="utf-8")


def a_hook_appears_changed(world: CrashWorld) -> None:
    (world.user.repository / ".git" / "hooks" / "pre-commit").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")


def the_configuration_changes(world: CrashWorld) -> None:
    git(git_dir_of(str(world.user.repository)), "config", "user.name", "Somebody")


def for_ever_on_its_way(world: CrashWorld) -> None:
    condition(world, status="False", reason="StartingSession", message="Claude Code is starting")


def nobody_looked(world: CrashWorld) -> None:
    sql(
        world, "UPDATE instances SET status = replace(status, '\"observed_generation\":1', '\"observed_generation\":0')"
    )


def failed_without_a_word(world: CrashWorld) -> None:
    condition(world, status="False", reason="ImageNotFound", message="")


def unknown(world: CrashWorld) -> None:
    condition(world, status="Unknown", reason="RuntimeUnavailable", message="the engine does not answer")


def tries_without_a_pause(world: CrashWorld) -> None:
    uid = world.get().metadata.uid
    for _ in range(12):
        world.store.events.record(Kind.INSTANCE, "web", uid, EventType.WARNING, "ImageNotFound", "no image")


BREAKERS: list[tuple[str, Breaker]] = [
    *(("I1", each) for each in (a_row_goes, a_spec_goes_back, a_spec_changes, the_database_is_damaged)),
    *(("I2", each) for each in (a_commit_is_lost, a_draft_is_lost, a_draft_is_written_over)),
    ("I3", two_run),
    *(("I4", each) for each in (a_container_of_nobody, a_home_of_nobody, a_folder_of_nobody, a_worktree_of_nobody)),
    *(("I4", each) for each in (a_workload_of_processes_of_nobody, a_home_of_processes_of_nobody)),
    *(("I4", each) for each in (no_container, runs_although_suspended, two_run)),
    *(("I5", each) for each in (a_users_branch_moves, a_users_file_changes, a_hook_appears_changed)),
    ("I5", the_configuration_changes),
    *(("I6", each) for each in (for_ever_on_its_way, nobody_looked, failed_without_a_word, unknown)),
    ("I7", tries_without_a_pause),
]


@pytest.mark.parametrize(("invariant", "breaks"), BREAKERS, ids=[f"{name}-{each.__name__}" for name, each in BREAKERS])
def test_a_broken_invariant_is_seen(world: CrashWorld, baseline: Baseline, invariant: str, breaks: Breaker) -> None:
    breaks(world)
    installation = baseline.acknowledged  # the world's store may be closed: what it was is in the baseline
    assert installation
    verdicts = judge(look(world), baseline)
    assert invariant in violated(verdicts), "\n".join(map(str, verdicts))
    with pytest.raises(AssertionError, match=f"{invariant} VIOLATED"):
        check(world.settings.state_dir, baseline, engine=look(world).engine)


def look(world: CrashWorld):  # type: ignore[no-untyped-def]  # noqa: ANN201
    world.restart()
    return facts_engine(world)


@pytest.mark.parametrize(
    ("invariant", "measured"),
    [
        ("I3", Measured(overlaps=["cco-web-2 was started while cco-web-1 ran"])),
        ("I7", Measured(cpu=0.2)),
        ("I7", Measured(starts={"uid": [float(second) for second in range(11)]})),
        ("I8", Measured(writes=["Docker: POST /containers/1/update"])),
    ],
)
def test_what_a_recorder_saw_counts(world: CrashWorld, baseline: Baseline, invariant: str, measured: Measured) -> None:
    assert violated(judge(facts_engine(world), baseline, measured)) == {invariant}


def test_a_stranger_that_changed_is_seen(world: CrashWorld, baseline: Baseline) -> None:
    changed = (*world.facts_of_engine().containers, replace(STRANGER, digest="another"))
    assert violated(judge(facts_engine(world, containers=changed), baseline)) == {"I5"}
    assert violated(judge(facts_engine(world, networks=()), baseline)) == {"I5"}


@pytest.mark.parametrize(
    ("agents", "broken"), [([], {"I4"}), (["w1"], set()), (["w1", "w1"], {"I3", "I4"}), (["w2"], {"I4"})]
)
def test_processes_count_as_containers(
    world: CrashWorld, baseline: Baseline, agents: list[str], broken: set[str]
) -> None:
    """The instance is one of processes: none of its agents runs, one, two at once, and one of a workload unknown."""
    world.engine.containers.clear()
    write_workload(world, world.get().metadata.uid)
    home = world.settings.state_dir / "process" / "homes" / "cco-web-home"
    home.mkdir(parents=True)
    with ExitStack() as stack:
        for mark in agents:
            stack.enter_context(agent_of(mark, home))
        assert violated(judge(look(world), baseline)) == broken


@contextmanager
def agent_of(mark: str, home: Path) -> Iterator[None]:
    """Run something that looks like an agent of the process runtime."""
    program = "import sys; print('runs', flush=True); sys.stdin.read()"
    environment = {"HOME": str(home / "home"), MARK: mark}
    argv = [sys.executable, "-I", "-S", "-c", program, "start_agent.py"]
    with subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"runs\n"
        yield


def test_a_forgotten_deletion_is_seen(world: CrashWorld) -> None:
    world.store.instances.request_deletion("web")
    acknowledged = record(facts_engine(world))
    sql(world, "UPDATE instances SET deletion_requested_at = NULL")
    assert "I1" in violated(judge(look(world), acknowledged))


def test_work_that_was_saved_counts_as_kept(world: CrashWorld, baseline: Baseline) -> None:
    world.store.instances.request_deletion("web")
    world.work()
    assert world.gone()
    assert violated(judge(facts_engine(world), baseline)) == set()


def test_attempts_in_a_row_are_spread_over_their_time(world: CrashWorld) -> None:
    facts = facts_engine(world)
    (first, *_) = facts.happenings
    slow = replace(first, reason="Slow", count=40, last=first.first + timedelta(minutes=10))
    quick = replace(slow, count=40, last=first.first + timedelta(minutes=2))
    assert no_hot_loop(replace(facts, happenings=(slow,))).holds
    assert not no_hot_loop(replace(facts, happenings=(quick,))).holds


def test_an_unmeasured_invariant_says_so(world: CrashWorld) -> None:
    told = {verdict.name: str(verdict) for verdict in judge(facts_engine(world))}
    assert "not measured" in told["I8"]
    assert "not measured" in told["I2"]
    assert Engine().containers == ()
