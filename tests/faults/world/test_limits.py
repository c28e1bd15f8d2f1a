"""Instances that want more than they may have: memory and processes (scenarios 20 and 21 of docs/faults.md).

What the real client does when it is the victim, and what a person is told, is in ``tests/e2e/test_box.py``, too.
"""

from __future__ import annotations

import subprocess
import time

import pytest

from controller.resources import ConditionStatus
from faults.world.installation import CLIENT, EVERYTHING, World
from support.deadline import eventually

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

# Each of them alone is a worse victim than the first process, which offers itself.
OFFER = """echo 1000 >/proc/1/oom_score_adj
for each in 1 2 3 4; do python3 -c "import time; x = b'x' * (24 << 20); time.sleep(20)" & done
wait"""
HOG = "echo 1000 >/proc/self/oom_score_adj; exec python3 -c \"x = b'x' * 2**31\""


def test_a_program_that_runs_out_of_memory_inside_tmux_is_told(world: World) -> None:
    """The container runs on and the engine says ``OOMKilled=false``: only event and counters tell."""
    world.talk("shell-hog", resources={"cpus": 1.0, "memory": "512Mi"})
    world.remember()
    life = world.life("shell-hog")
    target = "=cc-orchestrator-shell-hog:shell"
    world.in_box("shell-hog", f"cat >/tmp/hog <<'END'\n{HOG}\nEND\ntmux send-keys -t {target} 'sh /tmp/hog' Enter")
    world.until(lambda: world.get("shell-hog").status.oom_kills > 0, "the kill was counted")
    world.until(lambda: "OOMKilled" in world.reasons("shell-hog"), "there is an event")
    assert "oom" in [action for action, _ in world.place.happened()]
    assert world.life("shell-hog") == life
    assert world.ready("shell-hog").status is ConditionStatus.TRUE
    world.verify()


def test_a_first_process_that_is_the_victim_ends_the_container_as_out_of_memory(world: World) -> None:
    world.spawn("victim", resources={"cpus": 1.0, "memory": "64Mi"})
    world.until_ready("victim")
    world.commit("victim", "Add work")
    world.remember()

    def dies() -> bool:  # on a busy machine, the four may each have come and gone alone
        world.in_box("victim", OFFER, check=False)
        return bool(eventually(lambda: world.get("victim").status.restarts, timeout=20, what="it is started again"))

    world.until(dies, "it is killed and started again", timeout=200)
    world.until_ready("victim")
    last = world.get("victim").status.last_exit
    assert last is not None
    assert (last.exit_code, last.reason) == (137, "OOMKilled")
    assert "spec.resources.memory" in last.message
    assert world.in_box("victim", "cat draft.txt") == "half"
    world.verify()


def test_endless_want_of_memory_is_paced_with_advice(world: World) -> None:
    """Claude itself does not fit. Until it is given up takes minutes: ``make faults`` waits for that."""
    world.spawn("neighbour")
    world.until_ready("neighbour")
    world.commit("neighbour", "Add work")
    world.remember()
    world.spawn("starved", image=CLIENT, resources={"cpus": 1.0, "memory": "64Mi"})
    wanted = 6 if EVERYTHING else 3
    world.until(lambda: world.get("starved").status.failures.count >= wanted, f"{wanted} failures", timeout=500)
    told = world.until_reason("starved", "CrashLoop" if EVERYTHING else "BackingOff")
    assert "raise spec.resources.memory" in told.message
    assert world.get("starved").status.failures.reason == "OOMKilled"
    assert world.get("neighbour").status.restarts == 0
    world.verify(rest=EVERYTHING)
    world.patch("starved", resources={"memory": "1Gi"}, retry_generation=1)
    world.until_state("starved", "idle")
    world.until_ready("starved")


def test_a_fork_bomb_harms_nobody_and_can_be_deleted(world: World) -> None:
    world.spawn("bomber", resources={"cpus": 0.5, "memory": "1Gi", "pids": 64})
    world.spawn("bystander")
    world.until_ready("bomber", "bystander")
    world.commit("bomber", "Add work")
    world.commit("bystander", "Add work")
    world.remember()
    life = world.life("bystander")
    script = "bomb() { bomb | bomb & }; bomb; while :; do bomb; sleep 0.01; done"
    argv = ["docker", "exec", world.container("bomber"), "bash", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as bomb:
        refused = "Resource temporarily unavailable"
        eventually(lambda: bomb.stderr and refused in bomb.stderr.readline(), timeout=60, what="the kernel refuses")
        world.commit("bystander", "Work on")
        began = time.monotonic()
        world.delete("bomber")
        world.until_gone("bomber")
        took = time.monotonic() - began
        bomb.kill()
        bomb.communicate(timeout=30)
    assert took < 30, "2 s on an idle machine"
    assert world.life("bystander") == life
    assert not [each for each in world.place.containers() if "bomber" in each["Name"]]
    world.verify()
