"""The question before a deletion."""

from __future__ import annotations

from controller.resources import Instance, WorktreePolicy

from .commands import Commands
from .parts import Button, Form, Modal, Text, Values, box


class DeleteDialog:
    """Asks before an instance is deleted and says what stays; one per page, for whichever instance is asked about."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._target: tuple[str, str] | None = None
        self._modal = Modal("Delete instance").classes("narrow").mark("delete-dialog")
        with self._modal, Form(self._send) as self._form:
            self._title = Text("", tag="h2")
            self._question = Text("", "lead", tag="p")
            with box("modal-actions"):
                Button("Keep it", on_click=self._modal.close).props["data-focus"] = ""
                Button("Delete", kind="danger").mark("confirm-delete")

    def ask(self, name: str, instance: Instance | None) -> None:
        """Open the question for this instance; of one that has gone meanwhile nothing is asked."""
        if instance is None:
            return
        # The uid, so that an instance made anew under the same name while this is open stays untouched.
        self._target = (name, instance.metadata.uid)
        self._title.show(f"Delete {name}?")
        folder = (
            "The worktree folder is kept."
            if instance.spec.worktree_policy is WorktreePolicy.RETAIN
            else "The worktree folder is removed."
        )
        self._question.show(
            f"Claude, its container and its conversation go. {folder} The branch {instance.branch} "
            "stays, and uncommitted work is saved to a snapshot first."
        )
        self._modal.open()

    async def _send(self, values: Values) -> None:
        del values
        if self._target is None:
            return
        name, uid = self._target
        self._form.busy(True)
        if await self._commands.delete(name, uid):
            self._modal.close()
        self._form.busy(False)
