"""Plan, logs and attach of one instance."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass

from controller.errors import Terminal
from controller.reconcile.actions import Plan
from controller.resources import Instance
from controller.runtime.choice import Runtimes

from .routes import Route, StreamRequest

MAX_TAIL = 10_000
DEFAULT_TAIL = 200
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class InstanceStreams:
    """Answers about one instance each.

    Attributes:
        get: returns an instance by name; raises NotFound.
        preview: works out, without acting, what the next pass would do.
    """

    get: Callable[[str], Instance]
    preview: Callable[[Instance], Plan]
    runtimes: Runtimes

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("GET", "/instances/{name}/plan", self.plan),
            Route("GET", "/instances/{name}/logs", self.logs),
            Route("GET", "/instances/{name}/attach", self.attach),
        ]

    def plan(self, request: StreamRequest) -> object:
        """Return what the next pass would do."""
        plan = self.preview(self.get(request.path["name"]))
        return {
            "actions": [{"action": type(a).__name__, "reason": a.reason} for a in plan.actions],
            "blocked": None if plan.blocked is None else asdict(plan.blocked),
            "requeue_after": plan.requeue_after,
        }

    def logs(self, request: StreamRequest) -> bytes:
        """Return the last ``tail`` lines the container printed."""
        asked = request.query.get("tail", "")
        tail = int(asked) if _NUMBER.fullmatch(asked) else DEFAULT_TAIL
        instance = self.get(request.path["name"])
        return self.runtimes.of(instance).logs(instance.metadata.uid, tail=max(1, min(tail, MAX_TAIL)))

    def attach(self, request: StreamRequest) -> object:
        """Return the command a person runs on this machine to attach to the tmux session."""
        name = request.path["name"]
        instance = self.get(name)
        if instance.status.session is None:
            message = f"instance {name!r} has no session to attach to; see 'cco why {name}'"
            raise Terminal("NotRunning", message)
        read_only = request.query.get("read_only") in {"1", "true"}
        session = f"cc-orchestrator-{name}"
        command = ["tmux", "-u", "attach-session", *(["-r"] if read_only else []), "-t", f"={session}"]
        return {"argv": list(self.runtimes.of(instance).attach_argv(instance.metadata.uid, command))}
