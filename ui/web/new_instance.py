"""The dialog that declares an instance; the API judges the values, this shows its verdict at the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui
from pydantic import ValidationError

from api.client import ApiError, ServerUnavailable
from controller.resources import PermissionMode

from . import frame
from .commands import Commands, sentence
from .feed import Feed
from .fields import Choices, Field, choice_field, text_area, text_field
from .parts import Button, Copyable, Form, Modal, Text, Values, box, icon

PERMISSIONS: Choices = (
    ("", "The repository's default"),
    (PermissionMode.ACCEPT_EDITS.value, "Accept edits, ask for the rest"),
    (PermissionMode.MANUAL.value, "Ask for everything"),
    (PermissionMode.PLAN.value, "Plan only"),
    (PermissionMode.BYPASS.value, "Never ask"),
)

# Where the API's names for fields and those of the form differ.
_PATHS = {
    "name": ("metadata", "name"),
    "repository": ("spec", "repository"),
    "branch": ("spec", "branch"),
    "base_branch": ("spec", "base_branch"),
    "prompt": ("spec", "prompt"),
    "model": ("spec", "model"),
    "permission_mode": ("spec", "permission_mode"),
    "cpus": ("spec", "resources", "cpus"),
    "memory": ("spec", "resources", "memory"),
    "pids": ("spec", "resources", "pids"),
}


def manifest_of(values: Values) -> dict[str, Any]:
    """Return the manifest the form's values stand for; an empty field is left out, so defaults apply."""
    manifest: dict[str, Any] = {"kind": "Instance", "metadata": {"name": ""}, "spec": {}}
    for field, path in _PATHS.items():
        text = values.get(field, "")
        value = text if field == "prompt" else text.strip()
        if not value.strip():
            continue
        target = manifest
        for key in path[:-1]:
            target = target.setdefault(key, {})
        target[path[-1]] = value
    manifest["spec"].setdefault("repository", "")
    return manifest


def field_errors(errors: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Split the API's field errors into those of fields on the form and sentences about everything else."""
    by_path = {".".join(path): field for field, path in _PATHS.items()}
    shown: dict[str, str] = {}
    rest: list[str] = []
    for path, message in errors.items():
        field = by_path.get(path)
        if field is None:
            rest.append(f"{path}: {message}" if path else message)
        else:
            shown[field] = message
    return shown, rest


class NewInstanceDialog:
    """Built once per page; a repository registered meanwhile appears in it."""

    def __init__(self, feed: Feed, commands: Commands) -> None:
        self._feed = feed
        self._commands = commands
        self._modal = Modal("New instance").mark("new-instance-dialog")
        with self._modal:
            Text("New instance", tag="h2")
            lead = "Claude Code on its own branch, in its own worktree and container."
            Text(f"{lead} Only repository and name are needed.", "lead", tag="p")
            self._build_hint()
            self._form = Form(self._send)
            with self._form:
                self._fields = self._build_fields()
                with box("problem") as self._problem:
                    self._problem.props["role"] = "alert"
                    icon("warning")
                    self._sentence = Text("")
                with box("modal-actions"):
                    Button("Cancel", on_click=self._modal.close)
                    Button("Create instance", kind="primary").mark("create")
        self._offer_repositories()
        frame.follow(feed, lambda changes: self._offer_repositories() if changes.repositories else None)

    def open(self) -> None:
        """Show the dialog."""
        self._show_errors({}, [])
        self._modal.open()

    def _offer_repositories(self) -> None:
        names = sorted(self._feed.repositories)
        self._form.set_visibility(bool(names))
        self._hint.set_visibility(not names)
        self._fields["repository"].offer([(name, name) for name in names])

    def _build_hint(self) -> None:
        with box("no-repository") as self._hint:
            Text("No repository is registered yet. Type this in one of yours:", tag="p")
            Copyable("cco init", "cco init")
            with box("modal-actions"):
                Button("Close", on_click=self._modal.close)

    def _build_fields(self) -> dict[str, Field]:
        with box("form-grid"):
            fields = [
                choice_field("repository", "Repository", ()),
                text_field("name", "Name", placeholder="fix-login", focus=True),
                text_field("branch", "Branch", placeholder="the instance's name"),
                text_field("base_branch", "Starts from", placeholder="the repository's base branch"),
                text_area("prompt", "First prompt", placeholder="What should Claude do?").wide(),
                choice_field("permission_mode", "Permissions", PERMISSIONS),
                text_field("model", "Model", placeholder="Claude Code's default"),
            ]
            with box("thirds"):
                fields += [
                    text_field("cpus", "CPUs", placeholder="1"),
                    text_field("memory", "Memory", placeholder="2Gi"),
                    text_field("pids", "Processes", placeholder="512"),
                ]
        return {field.name: field for field in fields}

    def _show_errors(self, errors: Mapping[str, str], rest: Sequence[str]) -> None:
        for name, field in self._fields.items():
            field.complain(errors.get(name, ""))
        self._sentence.show(" ".join(rest))
        self._problem.set_visibility(bool(rest))

    async def _send(self, values: Values) -> None:
        self._form.busy(True)
        try:
            instance = await self._commands.create(manifest_of(values))
        except ValidationError as error:
            self._show_errors(*field_errors(_wrong_fields(error)))
        except ApiError as error:
            errors, rest = field_errors({wrong.field: wrong.message for wrong in error.fields})
            self._show_errors(errors, rest or ([] if errors else [sentence(error)]))
        except ServerUnavailable as error:
            self._show_errors({}, [sentence(error)])
        else:
            self._modal.close()
            self._form.empty()
            ui.notify(f"Created {instance.metadata.name}")
        finally:
            self._form.busy(False)


def _wrong_fields(error: ValidationError) -> dict[str, str]:
    # The same sentences as the API's: both come from the resource's own checks.
    return {".".join(map(str, item["loc"])): item["msg"].removeprefix("Value error, ") for item in error.errors()}
