"""Accounting of exits: each one is counted once, and enough of them in a row end in "gave up".

Pure. The record lives in the instance's status, so a restart of the controller forgets nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from controller.agents import Heard
from controller.resources import (
    ConditionStatus,
    Instance,
    InstanceStatus,
    LastExit,
    OperatingMode,
    RestartPolicy,
    RunMark,
    SessionState,
    find_condition,
)
from controller.resources.observed import FailureRecord
from controller.runtime.protocol import Workload, WorkloadState

MAX_FAILURES = 6
"""Failures in a row after which only a person starts the instance again."""

HEALTHY_AFTER = timedelta(minutes=10)
"""To have been ready for so long clears the record; a container that runs without a session is not ready."""

_FIRST_DELAY = 10.0
LONGEST_DELAY = 300.0
"""Seconds between two tries, at most."""

_KILLED = 137
_FOUND_DEAD = 255
"""What dockerd writes for a container that had died with it, or with the machine, when it comes back
(``daemon.restore`` in moby); a program may end with it, too."""
_NEVER = datetime.fromtimestamp(0, UTC)


def delay_after(failures: int) -> float:
    """Return the seconds to wait before the next start: the first one is at once, then 10 s doubling to 300 s."""
    return 0.0 if failures <= 1 else float(min(_FIRST_DELAY * 2 ** (failures - 2), LONGEST_DELAY))


def count_failure(record: FailureRecord, reason: str, message: str, now: datetime) -> FailureRecord:
    """Return the record with one more failure."""
    count = record.count + 1
    retry_at = now + timedelta(seconds=delay_after(count))
    return FailureRecord(count=count, last_at=now, retry_at=retry_at, reason=reason, message=message)


def describe_exit(workload: Workload, heard: Heard | None) -> LastExit:
    """Return how the workload ended, in words."""
    code = workload.exit_code
    out_of_memory = workload.oom_killed or (code == _KILLED and heard is not None and heard.report.usage.oom_kills > 0)
    if out_of_memory:
        reason = "OOMKilled"
        message = (
            f"a process ran out of memory ({workload.limits.memory // 1024**2} MiB allowed) and Claude was killed; "
            "raise spec.resources.memory"
        )
    elif workload.error:
        reason, message = "StartFailed", workload.error
    elif code == 0:
        reason, message = "Exited", "the session ended by itself"
    elif code == _KILLED:
        reason, message = "Killed", "the session was killed (signal 9)"
    elif code == _FOUND_DEAD:
        reason = "ExitedWithError"
        message = "the session ended with exit code 255, as it does when the machine or the engine went down with it"
    else:
        reason, message = "ExitedWithError", f"the session ended with exit code {code}"
    told = heard.report.session if heard is not None else None
    if told is not None and told.state is SessionState.EXITED and told.detail and reason == "ExitedWithError":
        message = told.detail
    return LastExit(
        workload_id=workload.id,
        finished_at=workload.finished_at or workload.started_at or _NEVER,
        exit_code=code,
        reason=reason,
        message=message,
    )


def account(instance: Instance, workload: Workload | None, heard: Heard | None, now: datetime) -> InstanceStatus:
    """Return the status with a new exit recorded, what a retry or a changed spec forgives, and a long healthy run.

    It is the same status when nothing of that is new.
    """
    status = _clear(instance)
    if workload is None or workload.ending:
        return status
    if workload.state is not WorkloadState.EXITED:
        return _forgive(status) if _was_well(status, workload, now) else status
    last = describe_exit(workload, heard)
    if status.ending == run_mark(workload):
        update = {"asked": True, "reason": "Stopped", "message": "it was stopped on purpose"}
        last = last.model_copy(update=update)
    known = status.last_exit
    if known is not None and (known.workload_id, known.finished_at) == (last.workload_id, last.finished_at):
        return status
    failures = FailureRecord() if _was_well(status, workload, last.finished_at) else status.failures
    if _is_failure(instance, last):
        failures = count_failure(failures, last.reason, last.message, now)
    return status.model_copy(update={"last_exit": last, "failures": failures})


def _clear(instance: Instance) -> InstanceStatus:
    """Clear the record of failures when a retry was asked for, and a parking with any change of the spec."""
    status = instance.status
    if instance.spec.retry_generation > status.retried_generation and status.failures.count:
        status = status.model_copy(update={"failures": FailureRecord()})
    if status.parked is not None and status.parked.generation != instance.metadata.generation:
        status = status.model_copy(update={"parked": None})
    return status


def run_mark(workload: Workload) -> RunMark:
    """Return what tells this run of a workload from every other one."""
    return RunMark(workload_id=workload.id, started_at=workload.started_at)


def withdraw_end(instance: Instance, alive: Workload | None) -> Instance:
    """Forget that a run was about to be ended where one goes on: if it ends later, it did so by itself."""
    if alive is None or instance.status.ending is None:
        return instance
    return instance.model_copy(update={"status": instance.status.model_copy(update={"ending": None})})


def is_final(instance: Instance, last: LastExit) -> bool:
    """Tell whether the restart policy lets an ended session rest; what was ended on purpose goes on."""
    if last.asked:
        return False
    policy = instance.spec.restart_policy
    return policy is RestartPolicy.NEVER or (policy is RestartPolicy.ON_FAILURE and last.exit_code == 0)


def _is_failure(instance: Instance, last: LastExit) -> bool:
    wanted = instance.spec.operating_mode is OperatingMode.RUNNING
    return wanted and not last.asked and not is_final(instance, last)


def _was_well(status: InstanceStatus, workload: Workload, until: datetime) -> bool:
    """Tell whether this run was ready, as passes have seen it, for so long that earlier failures say nothing."""
    ready = find_condition(status.conditions, "Ready")
    if ready is None or ready.status is not ConditionStatus.TRUE or workload.started_at is None:
        return False
    return until - max(workload.started_at, ready.last_transition_at) >= HEALTHY_AFTER


def _forgive(status: InstanceStatus) -> InstanceStatus:
    return status.model_copy(update={"failures": FailureRecord()}) if status.failures.count else status
