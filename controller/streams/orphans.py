"""Orphans: what is ours and belongs to nobody, and taking away what a person chose of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

from pydantic import BaseModel, ValidationError

from controller.orphans.survey import Survey
from controller.orphans.sweep import Sweeper
from controller.resources.orphan import SweepRequest

from .routes import NotUnderstood, Route, StreamRequest


@dataclass(frozen=True, slots=True)
class OrphanStreams:
    """Answers about orphans."""

    survey: Survey
    sweeper: Sweeper

    def routes(self) -> list[Route]:
        """Return what is answered here."""
        return [Route("GET", "/orphans", self.list), Route("POST", "/orphans/sweep", self.sweep)]

    def list(self, request: StreamRequest) -> object:
        """Return all of them; those with worktrees are looked into, so this takes a while."""
        del request
        return _printable(self.survey.look(deep=True).as_list())

    def sweep(self, request: StreamRequest) -> object:
        """Remove the ones whose ids were sent."""
        try:
            wanted = SweepRequest.model_validate(dict(request.body), strict=False)
        except ValidationError as error:
            raise NotUnderstood(HTTPStatus.BAD_REQUEST, f"send a list of ids: {error.errors()[0]['msg']}") from None
        return _printable(self.sweeper.sweep(wanted.ids))


def _printable(answer: BaseModel) -> object:
    """Return plain values; paths that are no UTF-8 have question marks instead of what JSON could not carry."""
    return json.loads(json.dumps(answer.model_dump(mode="json"), ensure_ascii=False).encode("utf-8", "replace"))
