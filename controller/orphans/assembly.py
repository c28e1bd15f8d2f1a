"""Putting the parts together, for whoever runs a controller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from controller.runtime.choice import Runtimes
from controller.settings import Settings
from controller.store import Store
from controller.workspace.inventory import StateInventory
from controller.workspace.types import Workspaces

from .survey import Disk, Survey
from .sweep import Sweeper
from .timer import OrphanTimer


@dataclass(frozen=True, slots=True)
class OrphanParts:
    """What looks, what removes, and what does so by itself."""

    survey: Survey
    sweeper: Sweeper
    timer: OrphanTimer


def assemble(
    settings: Settings,
    store: Store,
    runtimes: Runtimes,
    workspaces: Workspaces,
    clock: Callable[[], datetime],
    disk: Disk | None = None,
) -> OrphanParts:
    """Return the parts for one installation; ``disk`` is for tests without one."""
    disk = disk or StateInventory(settings.state_dir, settings.worktree_base_path)
    survey = Survey(
        instances=store.instances,
        repositories=store.repositories,
        runtimes=runtimes,
        workspaces=workspaces,
        disk=disk,
        networks={settings.network},
        clock=clock,
    )
    sweeper = Sweeper(
        survey=survey,
        runtimes=runtimes,
        workspaces=workspaces,
        disk=disk,
        events=store.events,
        check=store.check_fence,
    )
    timer = OrphanTimer(
        survey=survey,
        sweeper=sweeper,
        runtimes=runtimes,
        stop_grace=settings.stop_grace_seconds,
        check=store.check_fence,
    )
    return OrphanParts(survey, sweeper, timer)
