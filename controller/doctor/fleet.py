"""What is declared, and how it is: credentials, repositories, instances, agents, recent warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from controller.agents.protocol import Heard
from controller.errors import CcoError, Terminal
from controller.resources import (
    ConditionStatus,
    DisplayState,
    Event,
    EventType,
    Instance,
    Repository,
    display_state,
    find_condition,
)
from controller.resources.orphan import Obstacle, OrphanList
from controller.workspace.types import RepositoryState

from .capacity import demanding
from .examination import Finding, failed, notable, unknown, well

RECENT = timedelta(hours=1)
_NAMED = 3
_UNWELL = (DisplayState.ERROR, DisplayState.UNKNOWN)


def examine_credentials(read: Callable[[], Mapping[str, str]]) -> Finding:
    """Judge whether Claude Code can log in: which kinds of credentials there are, never what they say."""
    try:
        kinds = list(read())
    except Terminal as error:
        return failed(error.message)
    if not kinds:
        return failed(
            "there are no credentials for Claude Code, so no instance starts: set ANTHROPIC_API_KEY, "
            "CLAUDE_CODE_OAUTH_TOKEN or ANTHROPIC_AUTH_TOKEN",
            "cco up, or make up",
        )
    return well(f"{', '.join(kinds)} present (whether the service accepts it, only an instance finds out)")


def examine_repositories(repositories: Sequence[Repository], inspect: Callable[[str], RepositoryState]) -> Finding:
    """Judge whether instances can be made from every repository, as the loop said and as it is this moment.

    Args:
        repositories: all that are registered.
        inspect: looks at a repository, as its owner.
    """
    if not repositories:
        return well("none is registered: 'cco init' in one registers it")
    problems = [f"{each.metadata.name}: {problem}" for each in repositories if (problem := _problem(each, inspect))]
    if problems:
        more = "" if len(problems) <= _NAMED else f" (and {len(problems) - _NAMED} more)"
        return failed("; ".join(problems[:_NAMED]) + more, "cco get repositories")
    return well(f"{_count(len(repositories), 'repository', 'repositories')} readable")


def _problem(repository: Repository, inspect: Callable[[str], RepositoryState]) -> str | None:
    ready = find_condition(repository.status.conditions, "Ready")
    if ready is None:
        return None  # the loop has not judged yet whether it may be looked at at all
    if ready.status is not ConditionStatus.TRUE:
        return f"{ready.reason}, {ready.message}"
    try:
        head = inspect(repository.spec.path).head
    except CcoError as error:
        return f"{error.reason}, {error.message}"
    if head is None and repository.status.head is not None:
        path = repository.spec.path
        return (
            f"the commit HEAD was on ({repository.status.head[:12]}) is not readable any more: see 'git -C {path} fsck'"
        )
    return None


def examine_instances(instances: Sequence[Instance]) -> Finding:
    """Judge whether every instance is as its spec wants it; starting, waiting and resting ones are."""
    if not instances:
        return well("none is declared")
    states = [(each.metadata.name, *display_state(each)) for each in instances]
    unwell = [(name, reason) for name, state, reason in states if state in _UNWELL]
    if not unwell:
        words = Counter(str(state) for _, state, _ in states)
        return well(", ".join(f"{number} {word}" for word, number in sorted(words.items())))
    reasons = Counter(reason for _, reason in unwell)
    told = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(_NAMED))
    return notable(
        f"{len(unwell)} of {_count(len(instances), 'instance')} not as declared: {told}", f"cco why {unwell[0][0]}"
    )


def examine_agents(instances: Iterable[Instance], heard: Mapping[str, Heard], silent_after: float) -> Finding:
    """Judge whether the agent of every running instance reports in time.

    Args:
        instances: all that are declared.
        heard: the newest report of each, by uid.
        silent_after: seconds without a report after which the loop, too, says that an agent is silent.
    """
    running = [each for each in instances if each.status.workload is not None and each.status.session is not None]
    running = demanding(running)
    silent = [
        each.metadata.name
        for each in running
        if (report := heard.get(each.metadata.uid)) is None or report.age >= silent_after
    ]
    if silent:
        names = ", ".join(silent[:_NAMED]) + (" ..." if len(silent) > _NAMED else "")
        return notable(
            f"{_count(len(silent), 'agent')} silent for {silent_after:g} s or more: {names}", f"cco why {silent[0]}"
        )
    if not running:
        return well("no instance is running")
    return well(f"{_count(len(running), 'agent')} reporting")


def examine_orphans(found: OrphanList) -> Finding:
    """Judge what is ours and belongs to no instance; younger things may be just being made."""
    settled = [each for each in found.items if each.obstacle is not Obstacle.TOO_YOUNG]
    blind = "; ".join(f"{each.part}: {each.message}" for each in found.skipped[:_NAMED])
    if settled:
        kinds = Counter(str(each.kind) for each in settled)
        told = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
        return notable(f"{_count(len(settled), 'thing')} of ours belonging to no instance: {told}", "cco gc")
    if blind:
        return unknown(f"not everything could be looked at: {blind}")
    return well("everything of ours belongs to an instance")


def examine_events(events: Iterable[Event], now: datetime) -> Finding:
    """Judge what happened within the last hour: the three most frequent warnings."""
    warnings: Counter[str] = Counter()
    for event in events:
        if event.type is EventType.WARNING and event.last_at > now - RECENT:
            warnings[event.reason] += _recent_times(event, now)
    if not warnings:
        return well("no warning within the last hour")
    told = ", ".join(f"{reason} {number} times" if number > 1 else reason for reason, number in warnings.most_common(3))
    return notable(f"{_count(warnings.total(), 'warning')} within the last hour, most of all {told}", "cco events")


def _recent_times(event: Event, now: datetime) -> int:
    """Return how often it happened within the hour; one that began earlier is spread evenly, as nobody knows."""
    span = (event.last_at - event.first_at).total_seconds()
    recent = (event.last_at - max(event.first_at, now - RECENT)).total_seconds()
    return event.count if span <= 0 else max(1, round(event.count * recent / span))


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or f'{one}s'}"
