"""The doctor's answers: what was found, what was mended, the newest log lines; and whether the engine answers."""

from __future__ import annotations

from dataclasses import dataclass

from controller.doctor.doctor import Doctor
from controller.logs import recent_lines

from .routes import Route, StreamRequest


@dataclass(frozen=True, slots=True)
class CheckStreams:
    """Answers about the whole."""

    doctor: Doctor

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [
            Route("GET", "/doctor", self.examine),
            Route("POST", "/doctor/repairs", self.repair),
            Route("GET", "/doctor/log", self.log),
            Route("GET", "/engine", self.engine),
        ]

    def examine(self, _: StreamRequest) -> object:
        """Return a diagnosis."""
        return self.doctor.examine().model_dump(mode="json")

    def repair(self, _: StreamRequest) -> object:
        """Mend what is safe to mend, and return what was done."""
        return self.doctor.repair().model_dump(mode="json")

    def log(self, _: StreamRequest) -> bytes:
        """Return the newest lines this process logged."""
        return recent_lines().encode()

    def engine(self, _: StreamRequest) -> object:
        """Return the check of the engine, or ``null`` where none is needed."""
        check = self.doctor.ping_engine()
        return {"check": None if check is None else check.model_dump(mode="json")}
