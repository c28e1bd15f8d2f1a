"""What became of each input, by its id, kept in HOME: an id is never typed twice, not even by a later container.

`delivery` writes it. An entry still in `typing` when the agent starts was interrupted by the end of a container;
whether Claude got it is for `delivery` to find out.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from . import files

logger = logging.getLogger(__name__)

REPORTED = 50
"""How many acknowledgements a report holds."""
KEPT = 500

Outcome = Literal["accepted", "rejected"]


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The end of one input."""

    id: str
    state: Outcome
    reason: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An input that was being typed; `text` is there to look for it in the conversation."""

    id: str
    text: str
    at: float


class Ledger:
    """All inputs that are known, oldest first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[str, Acknowledgement] = {}
        self._typing: dict[str, Unfinished] = {}
        data = files.read_json_object(path)
        for entry in _objects(data.get("done")):
            done = _acknowledgement(entry)
            if done is not None:
                self._done[done.id] = done
        for entry in _objects(data.get("typing")):
            if isinstance(entry.get("id"), str) and isinstance(entry.get("text"), str):
                self._typing[entry["id"]] = Unfinished(entry["id"], entry["text"], _time(entry))

    @property
    def unfinished(self) -> tuple[Unfinished, ...]:
        """Inputs that were begun and not ended."""
        return tuple(self._typing.values())

    @property
    def newest(self) -> tuple[Acknowledgement, ...]:
        """What is reported."""
        return tuple(self._done.values())[-REPORTED:]

    def knows(self, input_id: str) -> bool:
        """Whether this input was begun or ended."""
        return input_id in self._done or input_id in self._typing

    def begin(self, input_id: str, text: str, at: float) -> None:
        """Note that an input is about to be typed. Before it is.

        Raises:
            OSError: HOME cannot be written; the input must not be typed then.
        """
        self._typing[input_id] = Unfinished(input_id, text, at)
        try:
            self._save()
        except OSError:
            del self._typing[input_id]
            raise

    def withdraw(self, input_id: str) -> None:
        """Note that a begun input surely was not typed after all."""
        self._typing.pop(input_id, None)
        self._try_to_save()

    def end(self, input_id: str, state: Outcome, reason: str | None, at: float) -> None:
        """Note how an input ended; a second ending of an id changes nothing."""
        self._typing.pop(input_id, None)
        self._done.setdefault(input_id, Acknowledgement(input_id, state, reason, at))
        while len(self._done) > KEPT:
            del self._done[next(iter(self._done))]
        self._try_to_save()

    def _try_to_save(self) -> None:
        """Save; where that fails this process knows all the same, and the next one finds the input unfinished."""
        try:
            self._save()
        except OSError as error:
            logger.warning("inputs were not written", extra={"cco_error": str(error)})

    def _save(self) -> None:
        done = [asdict(entry) for entry in self._done.values()]
        typing = [asdict(entry) for entry in self._typing.values()]
        files.replace_json(self._path, {"done": done, "typing": typing})


def _objects(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _acknowledgement(entry: dict[str, Any]) -> Acknowledgement | None:
    input_id, state, reason = entry.get("id"), entry.get("state"), entry.get("reason")
    if not isinstance(input_id, str) or state not in {"accepted", "rejected"}:
        return None
    return Acknowledgement(input_id, state, reason if isinstance(reason, str) else None, _time(entry))


def _time(entry: dict[str, Any]) -> float:
    at = entry.get("at")
    return float(at) if isinstance(at, int | float) else 0.0
