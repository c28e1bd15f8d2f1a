"""The fleet page: every instance on one screen, kept current in place.

:class:`FleetPage` is told by :mod:`.feed` which instances changed; it compares each with what its row shows and
patches the difference. Rows are made when an instance appears and removed when it goes, never rebuilt.
"""

from __future__ import annotations

import bisect
import json
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from nicegui import ui
from nicegui.events import GenericEventArguments

from controller.resources import DisplayState

from . import frame
from .commands import Commands, menu_items
from .confirm import DeleteDialog
from .feed import Changes, Feed
from .new_instance import NewInstanceDialog
from .parts import Button, Copyable, PageTitle, Row, SearchBox, Text, box, icon, milliseconds
from .view import NO_VALUE, Action, InstanceView, attention_title

_COLUMNS = ("Instance", "State", "Activity", "CPU", "Memory", "Age")
_FILTERS = (
    DisplayState.WAITING,
    DisplayState.ERROR,
    DisplayState.RUNNING,
    DisplayState.IDLE,
    DisplayState.STARTING,
    DisplayState.STOPPED,
    DisplayState.DELETING,
    DisplayState.UNKNOWN,
)
_TITLE = "Fleet · cc-orchestrator"


@lru_cache(maxsize=2048)
def row_text(view: InstanceView) -> str:
    """Return what ``instance_row.js`` shows, as JSON; made once for all viewers."""
    used = view.memory != NO_VALUE
    return json.dumps(
        {
            "name": view.name,
            "repository": view.repository,
            "branch": view.branch,
            "state": view.state.value.capitalize(),
            "tone": view.tone,
            "attention": view.needs_person,
            "reason": view.reason,
            "why": view.why,
            "doing": view.doing,
            "since": milliseconds(view.doing_since),
            "cpu": view.cpu,
            "cpuShare": round(100 * view.cpu_share) if used else None,
            "memory": view.memory,
            "limit": f" / {view.memory_limit}" if used else "",
            "memoryShare": round(100 * view.memory_share) if used else None,
            "created": milliseconds(view.created_at),
            "actions": menu_items(view.actions),
        }
    )


class FleetPage:
    """The page of one viewer."""

    def __init__(self, feed: Feed, commands: Commands) -> None:
        self._feed = feed
        self._rows: dict[str, Row] = {}
        self._text = ""
        self._state: DisplayState | None = None
        self._title = PageTitle(_TITLE)
        self._deletion = DeleteDialog(commands)
        self._creation = NewInstanceDialog(feed, commands)
        self._commands = commands
        frame.header(feed)
        with box("page fleet", "main"):
            self._build_head()
            self._build_table()
            self._build_empty()
        self._refresh(feed.views)
        frame.follow(feed, self._on_changes)

    def _build_head(self) -> None:
        with box("fleet-head"):
            with box("grow"):
                Text("Fleet", tag="h1")
                self._summary = Text("", "soft", tag="p")
            self._search = SearchBox("Search instances", self._search_for)
            Button("New instance", icon_name="plus", kind="primary", on_click=self._creation.open).mark("new-instance")
        with box("filters") as self._filter_bar:
            self._filter_bar.props.update({"role": "group", "aria-label": "Show only"})
            self._all = _Filter("All", "", partial(self._filter_by, None))
            self._filters = {
                state: _Filter(
                    state.value.capitalize(), f"state-{state.value.lower()}", partial(self._filter_by, state)
                )
                for state in _FILTERS
            }

    def _build_table(self) -> None:
        with box("table panel") as self._table:
            self._table.props.update({"role": "table", "aria-label": "Instances"})
            with box("row head") as head:
                head.props["role"] = "row"
                for column in _COLUMNS:
                    Text(column, column.lower()).props["role"] = "columnheader"
                with box("", "span") as actions:
                    actions.props["role"] = "columnheader"
                    Text("Actions", "unseen")
            self._body = box("body")
            self._body.props["role"] = "rowgroup"
            self._body.on("pick", self._on_pick, ["detail"])
        with box("nothing panel") as self._no_match:
            Text("Nothing matches", tag="h2")
            Text("No instance has this state and text.", "soft", tag="p")
            Button("Show all", on_click=self._clear_filter)

    def _build_empty(self) -> None:
        with box("nothing panel empty").mark("empty") as self._empty:
            with box("mark"):
                icon("terminal")
            Text("No instances yet", tag="h2")
            Text("Two commands, typed in a git repository of yours, start the first one:", "soft", tag="p")
            with box("commands", "ol"):
                for number, command in enumerate(("cco init", "cco instance spawn first"), 1):
                    with box(tag="li"):
                        Text(str(number), "number")
                        Copyable(command, command)
            Text("It gets its own branch, worktree and container, and appears here by itself.", "faint", tag="p")

    def _on_changes(self, changes: Changes) -> None:
        if changes.instances or changes.synced:
            self._refresh({name: self._feed.views.get(name) for name in changes.instances})

    def _refresh(self, views: Mapping[str, InstanceView | None]) -> None:
        for name, view in views.items():
            row = self._rows.get(name)
            if view is None:
                if row is not None:
                    del self._rows[name]
                    row.delete()
                continue
            if row is None:
                self._insert(view)
            else:
                row.show(row_text(view))
            self._apply_filter(self._rows[name], view)
        self._show_totals()

    def _insert(self, view: InstanceView) -> None:
        index = bisect.bisect_left(sorted(self._rows), view.name)
        with self._body:
            row = Row(view.name, row_text(view))
        if index < len(self._rows):
            row.move(target_index=index)
        self._rows[view.name] = row

    def _show_totals(self) -> None:
        counts = Counter(view.state for view in self._feed.views.values())
        total = counts.total()
        repositories = len({view.repository for view in self._feed.views.values()})
        self._summary.show(_summary(total, repositories, self._feed.synced))
        self._title.show(attention_title(self._feed.views.values(), _TITLE))
        self._all.show(total, chosen=self._state is None)
        for state, filter_ in self._filters.items():
            filter_.show(counts[state], chosen=self._state is state)
        matching = any(row.visible for row in self._rows.values())
        self._table.set_visibility(matching)
        self._no_match.set_visibility(bool(total) and not matching)
        self._empty.set_visibility(self._feed.synced and not total)
        self._search.set_visibility(bool(total))
        self._filter_bar.set_visibility(bool(total))

    def _apply_filter(self, row: Row, view: InstanceView) -> None:
        row.set_visibility(self._text in view.haystack and self._state in {None, view.state})

    def _filter_by(self, state: DisplayState | None) -> None:
        self._state = None if state is self._state else state
        self._apply_filters()

    def _search_for(self, text: str) -> None:
        self._text = text.strip().lower()
        self._apply_filters()

    def _clear_filter(self) -> None:
        self._state = None
        self._text = ""
        self._search.clear_text()
        self._apply_filters()

    def _apply_filters(self) -> None:
        for name, row in self._rows.items():
            if (view := self._feed.views.get(name)) is not None:
                self._apply_filter(row, view)
        self._show_totals()

    def _on_pick(self, event: GenericEventArguments) -> None:
        # Comes from a browser: only what the row offers is taken.
        detail = event.args.get("detail") if isinstance(event.args, dict) else None
        name, action = (detail.get("name"), detail.get("action")) if isinstance(detail, dict) else (None, None)
        view = self._feed.views.get(str(name))
        if view is None or action not in view.actions:
            return
        if action == Action.DELETE:
            self._deletion.ask(view.name, self._feed.instances.get(view.name))
        else:
            self._commands.start(view.name, Action(action))


class _Filter:
    """A button that shows how many instances are in a state and, pressed, only those."""

    def __init__(self, text: str, tone: str, on_click: Callable[[], None]) -> None:
        self._root = ui.element("button").classes(f"filter {tone}")
        self._root.props.update({"type": "button", "aria-pressed": "false"})
        self._root.on("click", on_click, [])
        with self._root:
            if tone:
                box("dot", "span")
            Text(text)
            self._count = Text("0", "count")
        self._always = not tone

    def show(self, count: int, *, chosen: bool) -> None:
        """Patch the number; an empty state keeps out of the way unless it is the chosen one."""
        self._count.show(str(count))
        self._root.set_visibility(self._always or bool(count) or chosen)
        pressed = str(chosen).lower()
        if pressed != self._root.props["aria-pressed"]:
            self._root.props["aria-pressed"] = pressed


def _summary(instances: int, repositories: int, synced: bool) -> str:  # noqa: FBT001 - a fact about the numbers
    if not synced:
        return "Connecting …"
    if not instances:
        return "Nothing is declared"
    noun = "instance" if instances == 1 else "instances"
    place = "repository" if repositories == 1 else "repositories"
    return f"{instances} {noun} in {repositories} {place}"
