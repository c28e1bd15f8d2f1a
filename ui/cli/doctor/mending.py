"""``--fix``: what is safe. Nothing is pruned, and nothing that holds work is touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from api.client import ClientError
from controller.doctor.leftovers import clear_leftovers, restrict, restrict_state_directory
from controller.errors import CcoError
from controller.resources.check import Check, Fixer, Repair
from controller.settings import config_path
from ui.cli.failures import Failure

from .visit import Visit

if TYPE_CHECKING:
    from ui.cli.invocation import Invocation

OWNER_FILE = 0o600
NOT_WRITABLE_BY_OTHERS = 0o7755


def mend(cli: Invocation, visit: Visit, checks: Iterable[Check]) -> tuple[Repair, ...]:
    """Mend what the checks say can be mended; return what was done and what could not be."""
    fixable = {check.name: check.fixable_by for check in checks if check.fixable_by is not None}
    repairs = list(_mend_here(visit, {name for name, fixer in fixable.items() if fixer is Fixer.CLIENT}))
    if Fixer.CONTROLLER in fixable.values():
        try:
            with cli.client() as client:
                repairs.extend(client.repair().repairs)
        except (ClientError, CcoError, Failure) as error:
            names = (name for name, fixer in fixable.items() if fixer is Fixer.CONTROLLER)
            repairs.extend(Repair(check=name, done=False, message=f"{name}: {error}") for name in names)
    return tuple(repairs)


def _mend_here(visit: Visit, names: set[str]) -> Iterator[Repair]:
    if "configuration" in names and (repair := restrict("configuration", config_path(), NOT_WRITABLE_BY_OTHERS)):
        yield repair
    settings = visit.settings
    if settings is None:
        return
    if "state-directory" in names and (repair := restrict_state_directory(settings.state_dir)):
        yield repair
    if "token" in names and (repair := restrict("token", visit.token_path(settings), OWNER_FILE)):
        yield repair
    if "leftovers" in names:
        yield from clear_leftovers(settings.state_dir)
