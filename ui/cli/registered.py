"""Which registered repository a folder belongs to."""

from __future__ import annotations

from pathlib import Path

from api.client import Client
from controller.resources import Repository

from .checkout import find_checkout
from .exit_codes import ExitCode
from .failures import Failure


def repository_of(client: Client, folder: Path) -> Repository:
    """Return the registered repository that contains the folder.

    Raises:
        Failure: the folder is in no repository, or in one that is not registered.
    """
    checkout = find_checkout(folder)
    if checkout is None:
        raise Failure(
            f"{folder} is not inside a git repository",
            hint="go to one, or name a registered one with --repository ('cco get repositories')",
            code=ExitCode.NOT_FOUND,
        )
    for repository in client.list_repositories():
        if Path(repository.spec.path) == checkout.path:
            return repository
    raise Failure(
        f"the repository {checkout.path} is not registered", hint=f"cco init {checkout.path}", code=ExitCode.NOT_FOUND
    )
