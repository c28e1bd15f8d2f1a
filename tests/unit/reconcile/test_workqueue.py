"""The queue against a model of client-go's semantics that fits on one screen, then with real threads.

The model knows which keys are wished for, which are being worked on and when delayed wishes are due; it has no
locks, no heap and no second set of anything.
"""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.reconcile.workqueue import BACKOFF_BASE, BACKOFF_LIMIT, Workqueue, backoff
from support.deadline import eventually

KEYS = ("a", "b", "c")
keys = st.sampled_from(KEYS)
LONGEST_SECONDS = 10.0


class Clock:
    """A clock that stands still unless it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Model:
    """What a queue promises."""

    def __init__(self) -> None:
        self.line: list[str] = []
        self.wished: set[str] = set()
        self.working: set[str] = set()
        self.due: dict[str, tuple[float, int]] = {}
        self.failures: Counter[str] = Counter()
        self.wishes = 0
        self.down = False

    def add(self, key: str) -> None:
        if self.down or key in self.wished:
            return
        self.wished.add(key)
        if key not in self.working:
            self.line.append(key)

    def add_after(self, key: str, due: float) -> None:
        self.wishes += 1
        if not self.down and (key not in self.due or due < self.due[key][0]):
            self.due[key] = (due, self.wishes)

    def until(self, now: float) -> None:
        for key, (due, _) in sorted(self.due.items(), key=lambda item: item[1]):
            if due <= now:
                del self.due[key]
                self.add(key)

    def get(self) -> str | None:
        if not self.line:
            return None
        key = self.line.pop(0)
        self.wished.discard(key)
        self.working.add(key)
        return key

    def done(self, key: str) -> None:
        self.working.discard(key)
        if key in self.wished:
            self.line.append(key)

    def shut_down(self) -> None:
        self.down = True
        self.line, self.wished, self.due = [], set(), {}


class Queue(RuleBasedStateMachine):
    """One thread does everything; the clock moves when a rule says so."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.queue: Workqueue[str] = Workqueue(clock=self.clock, jitter=lambda: 1.0)
        self.model = Model()

    @rule(key=keys)
    def adds(self, key: str) -> None:
        self.queue.add(key)
        self.model.add(key)

    @rule(key=keys, delay=st.sampled_from([-1.0, 0.0, 1.0, 2.0, 60.0]))
    def adds_later(self, key: str, delay: float) -> None:
        self.queue.add_after(key, delay)
        if delay <= 0:
            self.model.add(key)
        else:
            self.model.add_after(key, self.clock.now + delay)

    @rule(key=keys)
    def fails(self, key: str) -> None:
        delay = self.queue.add_rate_limited(key)
        assert delay == min(BACKOFF_BASE * 2 ** self.model.failures[key], BACKOFF_LIMIT)
        self.model.failures[key] += 1
        self.model.add_after(key, self.clock.now + delay)

    @rule(key=keys)
    def succeeds(self, key: str) -> None:
        self.queue.forget(key)
        del self.model.failures[key]

    @rule(seconds=st.sampled_from([0.25, 1.0, 5.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def a_worker_takes(self) -> None:
        self.model.until(self.clock.now)
        assert self.queue.get(timeout=0.0) == self.model.get()

    @precondition(lambda self: self.model.working)
    @rule(data=st.data())
    def a_worker_is_done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.working)))
        self.queue.done(key)
        self.model.done(key)

    @precondition(lambda self: self.model.wishes > 5)
    @rule()
    def shuts_down(self) -> None:
        self.queue.shut_down()
        self.model.shut_down()

    @invariant()
    def as_many_wait_as_should(self) -> None:
        self.model.until(self.clock.now)
        assert len(self.queue) == len(self.model.line)

    def teardown(self) -> None:
        """Whatever was wished for last gets exactly one more pass, and then there is nothing left to do."""
        for key in sorted(self.model.working):
            self.queue.done(key)
            self.model.done(key)
        self.clock.now += 1000.0
        self.model.until(self.clock.now)
        passes = Counter[str]()
        while (taken := self.queue.get(timeout=0.0)) is not None:
            passes[taken] += 1
            self.queue.done(taken)
        assert passes == Counter(self.model.wished)


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=50, deadline=None, derandomize=True, database=None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Workqueue[str]:
    return Workqueue(clock=clock, jitter=lambda: 1.0)


def test_many_hints_are_one_pass(queue: Workqueue[str]) -> None:
    for _ in range(100):
        queue.add("a")
    assert queue.get() == "a"
    assert queue.get(timeout=0.0) is None


def test_a_hint_during_the_pass_is_another_pass_and_never_a_second_worker(queue: Workqueue[str]) -> None:
    queue.add("a")
    queue.get()
    queue.add("a")
    assert queue.get(timeout=0.0) is None, "one worker per key"
    queue.done("a")
    assert queue.get() == "a"


def test_the_earliest_of_several_delayed_wishes_counts_and_counts_once(queue: Workqueue[str], clock: Clock) -> None:
    queue.add_after("a", 30.0)
    queue.add_after("a", 10.0)
    queue.add_after("a", 20.0)
    clock.now += 9.9
    assert queue.get(timeout=0.0) is None
    clock.now += 0.2
    assert queue.get(timeout=0.0) == "a"
    queue.done("a")
    clock.now += 60.0
    assert queue.get(timeout=0.0) is None


def test_a_delay_that_is_over_is_no_delay(queue: Workqueue[str]) -> None:
    queue.add_after("a", 0.0)
    assert queue.get(timeout=0.0) == "a"


def test_an_empty_queue_says_so_when_time_is_up(queue: Workqueue[str]) -> None:
    assert queue.get(timeout=-1.0) is None
    queue.add_after("a", 5.0)
    assert queue.get(timeout=0.0) is None


def test_keys_that_wait_too_short_a_time_for_a_timer_go_away_empty() -> None:
    queue: Workqueue[str] = Workqueue()
    queue.add_after("a", 60.0)
    assert queue.get(timeout=0.02) is None


@pytest.mark.parametrize("failures", [0, 1, 5, 8, 9, 30, 10_000])
def test_backoff_doubles_up_to_a_limit_and_spreads_over_its_second_half(failures: int) -> None:
    full = min(0.25 * 2 ** min(failures, 30), 60.0)
    assert backoff(failures, 1.0) == full
    assert backoff(failures, 0.0) == full / 2


def test_nothing_goes_out_after_shut_down(queue: Workqueue[str], clock: Clock) -> None:
    for key in KEYS:
        queue.add(key)
    queue.add_after("later", 1.0)
    assert queue.get() == "a"
    queue.add("a")
    queue.shut_down()
    queue.add("new")
    queue.add_after("new", 1.0)
    queue.add_rate_limited("new")
    queue.done("a")
    clock.now += 1000.0
    assert queue.get() is None
    assert len(queue) == 0


class Waiting:
    """Workers that surely wait: the queue looks at the clock with its lock held, and lets go of that only to wait."""

    def __init__(self, workers: int) -> None:
        self.looks = threading.Semaphore(0)
        self.queue: Workqueue[str] = Workqueue(clock=self.clock)
        self.taken: list[str | None] = []
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()
        for _ in range(workers):
            assert self.looks.acquire(timeout=LONGEST_SECONDS)

    def clock(self) -> float:
        self.looks.release()
        return time.monotonic()

    def work(self) -> None:
        self.taken.append(self.queue.get())

    def all_took(self) -> list[str | None]:
        for thread in self.threads:
            thread.join(LONGEST_SECONDS)
            assert not thread.is_alive(), "nobody woke it"
        return self.taken


def test_shut_down_wakes_every_worker() -> None:
    workers = Waiting(5)
    workers.queue.shut_down()
    assert workers.all_took() == [None] * 5


def test_a_hint_wakes_a_waiting_worker() -> None:
    workers = Waiting(1)
    workers.queue.add("a")
    assert workers.all_took() == ["a"]


def test_a_timer_wakes_a_waiting_worker_that_waited_for_a_later_one() -> None:
    workers = Waiting(1)
    workers.queue.add_after("far", 300.0)
    workers.queue.add_after("near", 0.01)
    assert workers.all_took() == ["near"]


def test_the_end_of_a_pass_wakes_a_waiting_worker_for_what_was_added_meanwhile() -> None:
    workers = Waiting(2)
    workers.queue.add("a")
    eventually(lambda: workers.taken, timeout=LONGEST_SECONDS, what="the first pass", pause=0.001)
    workers.queue.add("a")
    assert workers.taken == ["a"]
    workers.queue.done("a")
    assert workers.all_took() == ["a", "a"]


class Shift:
    """Workers that note who works on what, and which hint each pass had seen."""

    def __init__(self, workers: int) -> None:
        self.queue: Workqueue[str] = Workqueue()
        self.changed = threading.Condition()
        self.hints: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        self.passes = 0
        self.most = 0
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]

    def work(self) -> None:
        while (key := self.queue.get()) is not None:
            with self.changed:
                self.busy[key] += 1
                self.most = max(self.most, self.busy[key])
                seen = self.hints[key]
            time.sleep(0.0001)  # a pass takes a moment, so that hints fall into it
            with self.changed:
                self.busy[key] -= 1
                self.seen[key] = seen
                self.passes += 1
                self.changed.notify_all()
            self.queue.done(key)

    def hint(self) -> None:
        for number in range(300):
            key = KEYS[number % len(KEYS)]
            with self.changed:
                self.hints[key] += 1
            if number % 7:
                self.queue.add(key)
            else:
                self.queue.add_after(key, 0.001)


def test_with_real_threads_no_hint_is_lost_and_no_key_has_two_workers() -> None:
    shift = Shift(workers=4)
    hinters = [threading.Thread(target=shift.hint, daemon=True) for _ in range(3)]
    for thread in (*shift.threads, *hinters):
        thread.start()
    for thread in hinters:
        thread.join(LONGEST_SECONDS)
    with shift.changed:
        assert shift.changed.wait_for(lambda: shift.seen == shift.hints, LONGEST_SECONDS), "a hint was lost"
    shift.queue.shut_down()
    for thread in shift.threads:
        thread.join(LONGEST_SECONDS)
        assert not thread.is_alive()
    assert shift.most == 1, "two workers had one key"
    assert shift.passes <= sum(shift.hints.values()), "more passes than hints"
