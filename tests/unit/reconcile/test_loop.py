"""What the loop makes of a pass's outcome, and what it survives: broken passes, broken and ending sources."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from controller.errors import Conflict, NotFound, Retryable, Terminal, Unavailable
from controller.reconcile import loop
from controller.reconcile.loop import Controller, Request, Result
from controller.reconcile.workqueue import BACKOFF_BASE, Workqueue
from support.deadline import eventually

LONGEST_SECONDS = 10.0
WEB = Request("web")

Outcome = Callable[[], Result]


def ends(requeue_after: float | None = None) -> Outcome:
    return lambda: Result(requeue_after)


def raises(error: Exception) -> Outcome:
    def outcome() -> Result:
        raise error

    return outcome


class Scripted:
    """A reconciler whose passes end as the test says, the last outcome for ever."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.passes: list[str] = []

    def reconcile(self, request: Request) -> Result:
        self.passes.append(request.name)
        return (self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0])()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def without_threads(reconciler: loop.Reconciler) -> tuple[Controller, Clock]:
    controller, clock = Controller("instance", reconciler, (), workers=1), Clock()
    controller.queue = Workqueue(clock=clock, jitter=lambda: 1.0)
    return controller, clock


def next_pass_after(controller: Controller, clock: Clock) -> float | None:
    """Return how many seconds later the loop does the next pass by itself; ``None`` for never (in an hour)."""
    for seconds in (0.0, BACKOFF_BASE, 2 * BACKOFF_BASE, 7.0, 42.0, 3600.0):
        clock.now = seconds
        if len(controller.queue):
            return seconds
    return None


OUTCOMES: dict[str, tuple[Outcome, float | None]] = {
    "satisfied: nothing until a source says so": (ends(), None),
    "wants to be called at once": (ends(0.0), 0.0),
    "wants to be called later": (ends(42.0), 42.0),
    "retryable with a delay of its own": (raises(Retryable("Busy", "busy", delay=7.0)), 7.0),
    "retryable without a delay: backoff": (raises(Retryable("Busy", "busy")), BACKOFF_BASE),
    "a look failed: backoff": (raises(Unavailable("GitUnavailable", "no answer")), BACKOFF_BASE),
    "terminal: nothing until a source says so": (raises(Terminal("ImageNotFound", "build it")), None),
    "something foreign is in the way: the same": (raises(Conflict("NameConflict", "remove it")), None),
    "an error nobody planned for: backoff": (raises(ZeroDivisionError("oops")), BACKOFF_BASE),
    "the store's words do not belong into a pass: backoff": (raises(NotFound("NotFound", "gone")), BACKOFF_BASE),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_after_a_pass_that_is(name: str) -> None:
    outcome, expected = OUTCOMES[name]
    controller, clock = without_threads(Scripted(outcome))
    controller.queue.add(WEB)
    assert controller.process_next(timeout=0.0)
    assert next_pass_after(controller, clock) == expected


@pytest.mark.parametrize(
    ("between", "expected"),
    [(ends(), BACKOFF_BASE), (raises(Terminal("X", "x")), BACKOFF_BASE), (raises(Retryable("X", "x")), None)],
    ids=["success", "terminal", "another failure"],
)
def test_the_backoff_starts_anew_after(between: Outcome, expected: float | None) -> None:
    failure = raises(Retryable("Busy", "busy"))
    controller, clock = without_threads(Scripted(failure, failure, between, failure))
    for _ in range(4):
        clock.now += 100.0
        controller.queue.add(WEB)
        while len(controller.queue):
            assert controller.process_next(timeout=0.0)
    clock.now += BACKOFF_BASE
    assert bool(len(controller.queue)) is (expected is not None)


def test_a_short_delay_that_does_not_help_becomes_longer() -> None:
    controller, clock = without_threads(Scripted(raises(Retryable("Busy", "busy", delay=1.0))))
    passes = 0
    controller.queue.add(WEB)
    for second in range(600):
        clock.now = float(second)
        while len(controller.queue):
            passes += controller.process_next(timeout=0.0)
    assert passes < 20


def test_an_act_that_is_repeated_without_end_is_repeated_ever_more_slowly() -> None:
    controller, clock = without_threads(Scripted(lambda: Result(0.0, did=("save",))))
    passes = 0
    controller.queue.add(WEB)
    for second in range(600):
        clock.now = float(second)
        while len(controller.queue):
            passes += controller.process_next(timeout=0.0)
    assert 2 < passes < 20


def test_acts_that_differ_follow_one_another_at_once() -> None:
    acts = [Result(0.0, did=(name,)) for name in ("save", "remove", "save", "remove")]
    controller, _ = without_threads(Scripted(*(lambda act=act: act for act in acts), ends()))
    controller.queue.add(WEB)
    for _ in range(5):
        assert controller.process_next(timeout=0.0)
    assert not len(controller.queue)


def test_an_empty_queue_is_no_pass() -> None:
    controller, _ = without_threads(Scripted(ends()))
    assert not controller.process_next(timeout=0.0)


def test_a_hint_during_the_pass_is_another_pass() -> None:
    class HintsItself(Scripted):
        def reconcile(self, request: Request) -> Result:
            if not self.passes:
                controller.queue.add(request)
            return super().reconcile(request)

    reconciler = HintsItself(ends())
    controller, _ = without_threads(reconciler)
    controller.queue.add(WEB)
    while controller.process_next(timeout=0.0):
        pass
    assert reconciler.passes == ["web", "web"]


def test_known_errors_are_one_line_and_unknown_ones_have_their_traceback(caplog: pytest.LogCaptureFixture) -> None:
    controller, _ = without_threads(Scripted(raises(Terminal("ImageNotFound", "build it")), raises(KeyError("x"))))
    for _ in range(2):
        controller.queue.add(WEB)
        controller.process_next(timeout=0.0)
    known, unknown = caplog.records
    assert (known.levelname, known.getMessage(), known.exc_info) == (
        "WARNING",
        "pass ended for good: build it",
        None,
    )
    assert vars(known)["cco_reason"] == "ImageNotFound"
    assert vars(known)["cco_name"] == "web"
    assert (unknown.levelname, unknown.getMessage()) == ("ERROR", "pass failed")
    assert unknown.exc_info is not None


# With threads --------------------------------------------------------------------------------------------------


class Announces:
    """A source that announces some names once and waits for the end."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.ended = threading.Event()

    def run(self, queue: Workqueue[Request], stop: threading.Event) -> None:
        for name in self.names:
            queue.add(Request(name))
        stop.wait(LONGEST_SECONDS)
        self.ended.set()


class BreaksAndEnds:
    """A source that breaks the first time, ends by itself the second time, and announces ``web`` the third."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, queue: Workqueue[Request], stop: threading.Event) -> None:
        self.runs += 1
        if self.runs == 1:
            msg = "a bug in the source"
            raise RuntimeError(msg)
        if self.runs > 2:
            queue.add(WEB)
            stop.wait(LONGEST_SECONDS)


@pytest.fixture
def running() -> Iterator[list[Controller]]:
    started: list[Controller] = []
    yield started
    for controller in started:
        controller.stop()


def test_sources_feed_workers_until_the_stop(running: list[Controller]) -> None:
    reconciler, sources = Scripted(ends()), (Announces("web", "api"), Announces("web"))
    controller = Controller("instance", reconciler, sources, workers=2)
    running.append(controller)
    controller.start()
    eventually(lambda: set(reconciler.passes) == {"web", "api"}, timeout=LONGEST_SECONDS, what="passes of both")
    controller.stop(LONGEST_SECONDS)
    assert all(source.ended.is_set() for source in sources)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("instance-")]
    controller.queue.add(WEB)
    assert not controller.process_next(timeout=0.0)


def test_a_source_that_breaks_or_ends_is_started_again(
    running: list[Controller], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "SOURCE_PAUSE_SECONDS", 0.001)
    reconciler, source = Scripted(ends()), BreaksAndEnds()
    controller = Controller("instance", reconciler, (source,), workers=1)
    running.append(controller)
    with caplog.at_level(logging.ERROR):
        controller.start()
        eventually(lambda: reconciler.passes == ["web"], timeout=LONGEST_SECONDS, what="a pass")
    assert source.runs == 3
    assert [record.getMessage() for record in caplog.records] == ["source failed"]


class EndsAtOnce:
    """A source that never stays."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, queue: Workqueue[Request], stop: threading.Event) -> None:
        del stop
        self.runs += 1
        queue.add(WEB)


def test_a_source_that_ends_at_once_is_not_started_in_a_hot_loop(running: list[Controller]) -> None:
    reconciler, source = Scripted(ends()), EndsAtOnce()
    controller = Controller("instance", reconciler, (source,), workers=1)
    running.append(controller)
    controller.start()
    eventually(lambda: reconciler.passes, timeout=LONGEST_SECONDS, what="a pass")
    controller.stop(LONGEST_SECONDS)
    assert source.runs == 1


class CountsWorkers:
    """A reconciler that notices two workers on one name."""

    def __init__(self, wanted: int) -> None:
        self.busy: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.left = wanted
        self.lock = threading.Lock()
        self.finished = threading.Event()

    def reconcile(self, request: Request) -> Result:
        with self.lock:
            self.busy[request.name] += 1
            self.most[request.name] = max(self.most[request.name], self.busy[request.name])
        self.finished.wait(0.001)
        with self.lock:
            self.busy[request.name] -= 1
            self.left -= 1
            if self.left <= 0:
                self.finished.set()
                return Result()
        return Result(0.0)


def test_one_name_is_never_in_two_workers(running: list[Controller]) -> None:
    reconciler = CountsWorkers(wanted=100)
    controller = Controller("instance", reconciler, (Announces("web", "api"),), workers=4)
    running.append(controller)
    controller.start()
    assert reconciler.finished.wait(LONGEST_SECONDS)
    assert reconciler.most == {"web": 1, "api": 1}
