"""What several routes take from a request, and how they answer."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final, TypeVar

from fastapi import Header, Query, Response
from pydantic import BaseModel

from api.problems import Invalid, Refused
from api.wire import MAX_PAGE, FieldError, Page
from controller.errors import NotFound
from controller.resources import Instance, Repository
from controller.store import Selector, Store

logger = logging.getLogger(__name__)

MAX_INTEGER: Final = 2**63 - 1
Made = TypeVar("Made")
Item = TypeVar("Item", bound=BaseModel)

DryRun = Annotated[bool, Query(description="Check and answer as usual, but write nothing.")]
Limit = Annotated[
    int, Query(ge=1, le=MAX_INTEGER, description=f"At most so many; more than {MAX_PAGE} mean {MAX_PAGE}.")
]
After = Annotated[int | None, Query(ge=0, le=MAX_INTEGER, description="A resource_version: only what changed since.")]
Continue = Annotated[str | None, Query(alias="continue", max_length=200, description="`continue` of the page before.")]
LabelSelector = Annotated[
    str | None, Query(max_length=1000, description="Conditions on labels: `a=b,c!=d,e,!f`.", examples=["team=web"])
]
Uid = Annotated[str | None, Query(max_length=64, description="Refuse if the name belongs to another object by now.")]
IfMatch = Annotated[
    str | None,
    Header(
        max_length=64,
        description="A resource_version: refuse if the object is not at it any more.",
        json_schema_extra={"pattern": r'^(\*|(W/)?"?[0-9]{1,19}"?)$'},
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="Repeating a request with the same key within a day does not repeat its effect.",
    ),
]


def expected_version(header: str | None, body: int | None = None) -> int | None:
    """Return the version a change is meant for; the header counts more than the body."""
    if header is None or header == "*":
        return body
    text = header.removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdecimal()):
        raise Invalid(FieldError(field="If-Match", value=header, message='is not a resource_version, for example "12"'))
    return int(text)


def parse_selector(text: str | None) -> Selector | None:
    """Return the selector in a query parameter."""
    try:
        return Selector.parse(text) if text else None
    except ValueError as error:
        raise Invalid(FieldError(field="selector", value=text, message=str(error))) from error


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins: behind a name, in a list as of a revision."""

    after: str | None
    resource_version: int

    @classmethod
    def parse(cls, token: str | None, now: int) -> Position:
        """Read what :meth:`token` wrote; without one, begin at the start as of ``now``."""
        if token is None:
            return cls(None, now)
        try:
            after, version = json.loads(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
        except (ValueError, TypeError, RecursionError):
            after = version = None
        if not isinstance(after, str) or not isinstance(version, int):
            raise Invalid(FieldError(field="continue", value=token, message="is not from a page before: begin anew"))
        return cls(after, version)

    def token(self) -> str:
        """Return it as an opaque text."""
        return base64.urlsafe_b64encode(json.dumps([self.after, self.resource_version]).encode()).decode()


def page_of(items: list[Item], names: Callable[[Item], str], limit: int, position: Position) -> Page[Item]:
    """Return one page of a list that was read with one item too many."""
    more = len(items) > limit
    kept = items[:limit]
    token = Position(names(kept[-1]), position.resource_version).token() if more else None
    return Page[Item].model_construct(items=tuple(kept), resource_version=position.resource_version, next=token)


def answer(model: BaseModel, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """Return the model as JSON, without the detour over Python objects."""
    return Response(
        model.model_dump_json(by_alias=True), status, headers=dict(headers or {}), media_type="application/json"
    )


def etag(item: Instance | Repository) -> dict[str, str]:
    """Return the header that names the object's version."""
    return {"ETag": f'"{item.metadata.resource_version}"'}


def transact(store: Store, work: Callable[[], Made], *, dry_run: bool = False) -> Made:
    """Do the work in one transaction; a dry run does it and takes it back."""
    with store.transaction(keep=not dry_run):
        return work()


@dataclass(frozen=True, slots=True)
class Once:
    """Makes something once per idempotency key; use it inside a transaction.

    Attributes:
        kind: what is made; a key may be used for each kind.
    """

    store: Store
    kind: str
    key: str | None

    def make(
        self, request: str, make: Callable[[], Made], load: Callable[[str], Made], name: Callable[[Made], str]
    ) -> Made:
        """Return what ``make`` makes, or what it made the first time (read again by ``load``).

        Args:
            request: the whole request as text; another one with the same key is refused.
            make: makes it.
            load: reads it by what ``name`` returned.
            name: returns its uid or id.
        """
        if self.key is None:
            return make()
        key, digest = f"{self.kind}:{self.key}", hashlib.sha256(request.encode("utf-8", "surrogatepass")).hexdigest()
        remembered = self.store.idempotency.find(key)
        if remembered is None:
            made = make()
            self.store.idempotency.remember(key, digest, self.kind, name(made))
            return made
        if remembered.request_hash != digest:
            raise Invalid(
                FieldError(
                    field="Idempotency-Key", value=self.key, message="was used for another request: take a new one"
                ),
                reason="IdempotencyKeyReused",
            )
        try:
            return load(remembered.result)
        except NotFound:
            raise Refused(
                HTTPStatus.CONFLICT,
                "IdempotencyKeyUsed",
                f"Idempotency-Key {self.key!r} made something that is gone again: take a new key to make another one",
            ) from None
