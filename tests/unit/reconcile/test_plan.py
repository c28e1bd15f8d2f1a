"""The decision about a running instance, as tables; ``test_plan_at_rest`` has those that do not run."""

from __future__ import annotations

import pytest

from controller.reconcile.actions import CollectCommits, ResolveInput
from controller.reconcile.exits import MAX_FAILURES
from controller.reconcile.observed import DiskVerdict
from controller.workspace.types import Presence
from support.looks import NOW, ago, healthy_status, heard, instance, prompt, workload, workspace
from support.plan_table import BASE, YOUNG, Row, check, failed

RUNNING: dict[str, Row] = {
    "is idle and reports: nothing": Row(BASE, [], None, None),
    "works: nothing": Row(BASE.but(heard=heard("working")), [], None, None),
    "has other limits than its spec: change them, without a restart": Row(
        BASE.but(instance=instance(resources={"memory": "4Gi"})), ["UpdateLimits"], None, None
    ),
    "was asked to restart": Row(BASE.but(instance=instance(restart_generation=1)), ["RestartWorkload"]),
    "was asked to restart, and was": Row(
        BASE.but(instance=instance(restart_generation=1, status=healthy_status(restarted_generation=1))),
        [],
        None,
        None,
    ),
    "was asked to restart in the middle of a turn: a person's wish counts at once": Row(
        BASE.but(instance=instance(restart_generation=1), heard=heard("working")), ["RestartWorkload"]
    ),
    "has another model than its spec": Row(BASE.but(instance=instance(model="opus")), ["RestartWorkload"]),
    "has another model and has not reported yet: it read the new one": Row(
        BASE.but(instance=instance(model="opus"), workloads=(YOUNG,), heard=None), [], None, 120.0
    ),
    "has another image than its spec: another container": Row(
        BASE.but(instance=instance(image="other:1")), ["StopWorkload", "RemoveWorkload", "CreateWorkload"]
    ),
    "has another image, and its limits too: the new container has both": Row(
        BASE.but(instance=instance(image="other:1", resources={"cpus": 2})),
        ["StopWorkload", "RemoveWorkload", "CreateWorkload"],
    ),
    "has another image while Claude works: the turn ends first": Row(
        BASE.but(instance=instance(image="other:1"), heard=heard("working")), [], "Draining", None
    ),
    "has another model while Claude waits for somebody: that is a turn too": Row(
        BASE.but(instance=instance(model="opus"), heard=heard("waiting")), [], "Draining", None
    ),
    "has another model, and the agent that said it works was cut off a moment ago": Row(
        BASE.but(instance=instance(model="opus"), heard=heard("working", connected=False, age=5.0)),
        [],
        "Draining",
        15.0,
    ),
    "has another model, and the agent that said it works has been cut off for long": Row(
        BASE.but(instance=instance(model="opus"), heard=heard("working", connected=False, age=25.0)),
        ["RestartWorkload"],
    ),
    "has another image, and the controller has only begun to listen: a turn may be running": Row(
        BASE.but(instance=instance(image="other:1"), heard=None, listening_for=8.0), [], "Draining", 12.0
    ),
    "has another image and has not reported yet": Row(
        BASE.but(instance=instance(image="other:1"), workloads=(YOUNG,), heard=None),
        ["StopWorkload", "RemoveWorkload", "CreateWorkload"],
    ),
    "has another model, and nothing to log in with: the session that is up stays": Row(
        BASE.but(instance=instance(model="opus"), credentials=False), [], "Draining", 10.0
    ),
    "has another image, and the disk is full: the session that is up stays": Row(
        BASE.but(instance=instance(image="other:1"), disk=DiskVerdict(full="the disk is full")), [], "Draining", 10.0
    ),
    "has new commits": Row(BASE.but(heard=heard(refs_version="refs-2")), ["CollectCommits"], None, None),
    "has new commits while draining: they come home all the same": Row(
        BASE.but(instance=instance(model="opus"), heard=heard("working", refs_version="refs-2")),
        ["CollectCommits"],
        "Draining",
        None,
    ),
    "has an agent that does not know its refs": Row(BASE.but(heard=heard(refs_version=None)), [], None, None),
    "has commits and no record of a workspace": Row(
        BASE.but(instance=instance(status=healthy_status(workspace=None)), heard=heard(refs_version="refs-2")),
        [],
        None,
        None,
    ),
    "has a damaged worktree: stop before it is made again": Row(
        BASE.but(workspace=workspace(Presence.BROKEN, detail="its folder is gone")), ["StopWorkload"]
    ),
    "lost its worktree": Row(BASE.but(workspace=workspace(Presence.ABSENT)), ["StopWorkload"]),
    "lost its credentials: a running Claude is left alone": Row(BASE.but(credentials=False), [], None, None),
    "has failed before: a running Claude is left alone": Row(
        BASE.but(instance=instance(status=healthy_status(failures=failed(MAX_FAILURES)))), [], None, None
    ),
}


@pytest.mark.parametrize("name", RUNNING)
def test_a_running_instance_that(name: str) -> None:
    check(RUNNING[name])


START = 180.0
SILENCE = 300.0
OLD = workload(started_at=ago(seconds=START))

OVERDUE: dict[str, Row] = {
    "has not reported yet, for a minute: wait for the rest": Row(
        BASE.but(workloads=(YOUNG,), heard=None), [], None, START - 60.0
    ),
    "has not reported when the deadline comes": Row(BASE.but(workloads=(OLD,), heard=None), ["RestartWorkload"]),
    "has not reported, but nobody listened that long": Row(
        BASE.but(workloads=(OLD,), heard=None, listening_for=START - 0.1), [], None, 1.0
    ),
    "has not reported, and a controller has just begun to listen: no look before it may judge": Row(
        BASE.but(workloads=(OLD,), heard=None, listening_for=10.0), [], None, START - 10.0
    ),
    "has not reported and its start is not known": Row(
        BASE.but(workloads=(workload(started_at=None),), heard=None), [], None, START
    ),
    "reports that it starts, for a minute": Row(
        BASE.but(heard=heard("starting", session={"since": ago(seconds=60)})), [], None, START - 60.0
    ),
    "reports that it starts until the deadline": Row(
        BASE.but(heard=heard("starting", session={"since": ago(seconds=START)})), ["RestartWorkload"]
    ),
    "does not come up, and there is nothing to log in with: a restart would not help": Row(
        BASE.but(heard=heard("starting", session={"since": ago(seconds=START)}), credentials=False), [], None, 10.0
    ),
    "does not come up, and has failed too often": Row(
        BASE.but(instance=instance(status=healthy_status(failures=failed(MAX_FAILURES))), workloads=(OLD,), heard=None),
        [],
        "CrashLoop",
        None,
    ),
    "does not come up, and its next start is paced": Row(
        BASE.but(
            instance=instance(status=healthy_status(failures=failed(2, retry_in=7.0))), workloads=(OLD,), heard=None
        ),
        [],
        "BackingOff",
        7.0,
    ),
    "is silent: wait until that is too long": Row(BASE.but(heard=heard(age=60.0)), [], None, SILENCE - 60.0),
    "is silent when the deadline is near": Row(BASE.but(heard=heard(age=SILENCE - 0.5)), [], None, 1.0),
    "is silent for too long": Row(BASE.but(heard=heard(age=SILENCE)), ["RestartWorkload"]),
    "is silent for too long in a turn": Row(BASE.but(heard=heard("working", age=SILENCE)), ["RestartWorkload"]),
    "is silent for too long, and there is nothing to log in with": Row(
        BASE.but(heard=heard(age=SILENCE), credentials=False), [], None, 10.0
    ),
}


@pytest.mark.parametrize("name", OVERDUE)
def test_an_instance_that(name: str) -> None:
    check(OVERDUE[name])


def answer(id_: str, state: str = "accepted") -> dict[str, object]:
    return {"id": id_, "state": state, "at": NOW}


INPUTS: dict[str, Row] = {
    "is handed over to an idle Claude": Row(BASE.but(inputs=(prompt(),)), ["DeliverInput"], None, None),
    "is handed over to a Claude that asked for it": Row(
        BASE.but(inputs=(prompt(),), heard=heard("waiting", session={"waiting_for": "input needed"})),
        ["DeliverInput"],
        None,
        None,
    ),
    "never answers a permission dialog": Row(
        BASE.but(inputs=(prompt(),), heard=heard("waiting", session={"waiting_for": "permission prompt"})),
        [],
        None,
        None,
    ),
    "never answers a dialog nobody knows": Row(BASE.but(inputs=(prompt(),), heard=heard("waiting")), [], None, None),
    "waits for the end of the turn": Row(BASE.but(inputs=(prompt(),), heard=heard("working")), [], None, None),
    "waits for the first report": Row(BASE.but(inputs=(prompt(),), workloads=(YOUNG,), heard=None), [], None, 120.0),
    "waits for the connection": Row(BASE.but(inputs=(prompt(),), heard=heard(connected=False)), [], None, None),
    "is not handed over twice on one connection": Row(
        BASE.but(inputs=(prompt(),), heard=heard(handed_over=["input-1"])), [], None, None
    ),
    "waits for the one before it": Row(
        BASE.but(inputs=(prompt("input-1"), prompt("input-2")), heard=heard(handed_over=["input-1"])),
        [],
        None,
        None,
    ),
    "is resolved by the agent's answer": Row(
        BASE.but(inputs=(prompt(),), heard=heard("working", inputs=[answer("input-1", "rejected")])),
        ["ResolveInput"],
        None,
        None,
    ),
    "follows the one that was answered": Row(
        BASE.but(inputs=(prompt("input-1"), prompt("input-2")), heard=heard(inputs=[answer("input-1")])),
        ["ResolveInput", "DeliverInput"],
        None,
        None,
    ),
    "is no concern any more once resolved: the agent repeats itself": Row(
        BASE.but(heard=heard(inputs=[answer("input-1"), answer("input-2")])), [], None, None
    ),
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_prompt(name: str) -> None:
    check(INPUTS[name])


def test_a_failed_start_or_a_silence_is_counted_and_a_wish_is_not() -> None:
    failures = {
        name: getattr(row[0].plan().actions[0], "failure", None)
        for name, row in (OVERDUE | RUNNING).items()
        if row[1] == ["RestartWorkload"]
    }
    assert failures["has not reported when the deadline comes"] == "SessionNotStarted"
    assert failures["is silent for too long"] == "NoSignal"
    assert failures["was asked to restart"] == ""
    assert failures["has another model than its spec"] == ""


def test_the_collected_version_is_the_one_the_agent_told() -> None:
    (collect,) = BASE.but(heard=heard(refs_version="refs-2")).plan().actions
    assert collect == CollectCommits("refs-2", "the agent's branches moved")


def test_an_answer_is_passed_on_as_it_came() -> None:
    look = BASE.but(inputs=(prompt(),), heard=heard(inputs=[answer("input-1", "rejected")]))
    (resolve,) = look.plan().actions
    assert isinstance(resolve, ResolveInput)
    assert resolve.acknowledgement.input_state == "Rejected"


def test_a_plan_is_a_function_of_its_arguments() -> None:
    looks = [row[0] for table in (RUNNING, OVERDUE, INPUTS) for row in table.values()]
    assert [look.plan() for look in looks] == [look.plan() for look in looks]
