"""Judging what runs instances: the Docker engine by what it says of itself, and the programs of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controller.errors import CcoError, Terminal, Unavailable
from controller.resources.check import Fixer
from controller.runtime.facts import EngineFacts, EngineView
from controller.runtime.protocol import Runtime

from .examination import Finding, Look, Shared, failed, notable, unknown, well

_BUILD = "make images"


def examine_ping(view: EngineView) -> Finding:
    """Judge only whether the engine answers, for whoever asks all the time."""
    try:
        view.ping()
    except Unavailable as error:
        return failed(error.message)
    return well("answers")


def examine_process(find_programs: Callable[[], object]) -> Finding:
    """Judge whether what runtime ``process`` needs is on this machine."""
    try:
        find_programs()
    except Terminal as error:
        return failed(error.message)
    return well(
        "Claude Code, tmux and git are there for runtime 'process'; its instances run as processes of this machine, "
        "and nothing isolates them (docs/security.md)"
    )


@dataclass(frozen=True, slots=True)
class EngineChecks:
    """Looks at one engine.

    Attributes:
        facts: asked for once for all of them.
        runtime: tells which images are there.
        images: those that instances need.
    """

    view: EngineView
    facts: Shared[EngineFacts]
    runtime: Runtime
    images: tuple[str, ...]

    def looks(self) -> Iterable[tuple[str, Look]]:
        """Return the looks by the names of their checks."""
        return (
            ("engine", self.answers),
            ("engine-limits", self.limits),
            ("engine-security", self.security),
            ("live-restore", self.live_restore),
            ("image", self.image),
            ("network", self.network),
        )

    def answers(self) -> Finding:
        """Judge whether it answers."""
        try:
            facts = self.facts.get()
        except Unavailable as error:
            return failed(error.message, "docker info")
        message = (
            f"Docker {facts.version} (API {facts.api_version}) on {facts.system}; storage driver "
            f"{facts.storage_driver}, cgroup v{facts.cgroup_version}"
        )
        # Docker's own words about what is missing; limits have a check of their own.
        warnings = [each for each in facts.warnings if "limit" not in each.lower()]
        return notable(f"{message}; it warns: {'; '.join(warnings)}") if warnings else well(message)

    def limits(self) -> Finding:
        """Judge whether it can enforce the limits instances are declared with."""
        missing = [name for name in self.facts.get().missing_limits if name != "swap"]
        if missing:
            return failed(
                f"the engine cannot limit {', '.join(missing)}, so one instance can take the whole machine: enable "
                "these cgroup controllers in the kernel"
            )
        if self.facts.get().missing_limits:
            return notable("the engine cannot limit swap: boot with swapaccount=1, or run without swap")
        return well("memory, swap, CPU and number of processes are limited by the kernel")

    def security(self) -> Finding:
        """Judge what stands between a container and the machine."""
        names = {option.split(",")[0].removeprefix("name=") for option in self.facts.get().security}
        unconfined = any("seccomp" in each and "unconfined" in each for each in self.facts.get().security)
        if "seccomp" not in names or unconfined:
            return failed(
                "the engine runs containers without a seccomp profile, so they may call all of the kernel: start it "
                "with its default profile"
            )
        if names & {"rootless", "userns"}:
            return well(f"seccomp, and {' and '.join(sorted(names & {'rootless', 'userns'}))}")
        return well("seccomp; neither rootless nor user namespaces, which would be one wall more (docs/security.md)")

    def live_restore(self) -> Finding:
        """Judge whether instances outlive a restart of the engine."""
        if self.facts.get().live_restore:
            return well("instances outlive a restart of the engine")
        return notable(
            'live-restore is off, so a restart of the engine ends every instance (they come back): set "live-restore": '
            "true in /etc/docker/daemon.json"
        )

    def image(self) -> Finding:
        """Judge whether every image that instances need is on this machine."""
        try:
            missing = [image for image in self.images if self.runtime.image_id(image) is None]
        except Unavailable as error:
            return unknown(error.message)
        if missing:
            return failed(f"{', '.join(missing)} not on this machine: build or pull it", _BUILD)
        return well(f"{', '.join(self.images)} on this machine")

    def network(self) -> Finding:
        """Judge whether the instances' network is there, ours, and keeps them apart."""
        try:
            found = self.view.network()
        except Unavailable as error:
            return unknown(error.message)
        except CcoError as error:
            return failed(error.message)
        if found is None:
            return notable("the instances' network is not there: the next start makes it", None, Fixer.CONTROLLER)
        return well(found)
