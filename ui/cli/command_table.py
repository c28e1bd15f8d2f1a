"""Every command there is: name, where it lives, one line of help. The reference and a test read this table too."""

from __future__ import annotations

from typing import NamedTuple

from typer.core import TyperGroup

from .deferred import Deferred


class Entry(NamedTuple):
    """One command.

    Attributes:
        target: ``module:function`` below ``ui.cli.commands``.
        help: the first line of the function's docstring (a test compares them).
        aliases: other names, accepted and not listed.
    """

    name: str
    target: str
    help: str
    panel: str | None = None
    aliases: tuple[str, ...] = ()


class Group(NamedTuple):
    """A noun with its verbs."""

    name: str
    help: str
    entries: tuple[Entry, ...]
    panel: str | None = None
    aliases: tuple[str, ...] = ()


START = "Start here"
DECLARE = "Declare"
LOOK = "Look"
NOUNS = "Nouns"
SETUP = "Set-up"

SPAWN = Entry("spawn", "spawn:spawn", "Declare an instance and watch it start.")
SEND = Entry("send", "send:send", "Give an instance its next prompt.")
ATTACH = Entry("attach", "attach:attach", "Open an instance's terminal (tmux) in this one.")
RETRY = Entry("retry", "operate:retry", "Try again what was given up, or stopped for want of space.")
LOGS = Entry("logs", "logs:logs", "Print what an instance's container wrote.")

COMMANDS: tuple[Entry | Group, ...] = (
    Entry("up", "up:up", "Run controller, API and dashboard in this terminal.", START),
    Entry("init", "init:init", "Register the git repository around a folder.", START),
    SPAWN._replace(panel=START),
    Entry("status", "status:status", "Show the fleet and the health of server, controller and engine.", START),
    Entry("doctor", "doctor:doctor", "Look at everything that has to work, and say what to do.", START),
    Entry("dashboard", "dashboard:dashboard", "Print or open the dashboard's login link.", START),
    Entry("apply", "apply:apply", "Make the declared objects as the manifests say.", DECLARE),
    Entry("diff", "apply:diff", "Show what apply would change.", DECLARE),
    Entry("delete", "delete:delete", "Delete objects; branches and snapshots of uncommitted work stay.", DECLARE),
    Entry("get", "get:get", "List objects of a kind, or show one.", LOOK),
    Entry("describe", "describe:describe", "Show everything about one object.", LOOK),
    Entry("why", "why:why", "Say in one sentence how an instance is and what to do.", LOOK),
    Entry("plan", "plan:plan", "Show what the controller would do next for an instance.", LOOK),
    Entry("events", "events:events", "Show what happened.", LOOK),
    Entry("wait", "wait:wait", "Wait until something is true of an object.", LOOK),
    ATTACH._replace(panel=LOOK),
    SEND._replace(panel=LOOK),
    RETRY._replace(panel=LOOK),
    LOGS._replace(panel=LOOK),
    Group(
        "instance",
        "Spawn, steer and watch instances.",
        (
            SPAWN,
            Entry("list", "get:list_instances", "List instances."),
            Entry("get", "get:get_instance", "Show one instance."),
            Entry("stop", "operate:stop", "Stop an instance; the conversation and the worktree stay."),
            Entry("start", "operate:start", "Start a stopped instance."),
            Entry("restart", "operate:restart", "Restart an instance; the conversation goes on."),
            RETRY,
            Entry("suspend", "operate:suspend", "Suspend an instance; its container is kept."),
            Entry("resume", "operate:resume", "Resume a suspended instance."),
            Entry("delete", "delete:delete_instances", "Delete instances; branches and snapshots stay."),
            SEND,
            ATTACH,
            LOGS,
        ),
        NOUNS,
        ("instances", "inst"),
    ),
    Group(
        "repository",
        "List and forget registered repositories.",
        (
            Entry("list", "get:list_repositories", "List registered repositories."),
            Entry("get", "get:get_repository", "Show one repository."),
            Entry("delete", "delete:delete_repositories", "Forget repositories; nothing on disk is touched."),
        ),
        NOUNS,
        ("repositories", "repo", "repos"),
    ),
    Group(
        "snapshots",
        "List, show and restore saved uncommitted work.",
        (
            Entry("list", "snapshots:list_snapshots", "List saved uncommitted work."),
            Entry("show", "snapshots:show_snapshot", "Show what is in a snapshot."),
            Entry(
                "restore", "snapshots:restore_snapshot", "Bring a snapshot back; nothing that exists is overwritten."
            ),
        ),
        NOUNS,
        ("snapshot",),
    ),
    Group(
        "web",
        "Run API and dashboard in the background.",
        (
            Entry("start", "web:start_web", "Start API and dashboard in the background."),
            Entry("stop", "web:stop_web", "Stop API and dashboard in the background; instances keep running."),
            Entry("status", "web:web_status", "Show whether API and dashboard are served, where, and by whom."),
        ),
        SETUP,
    ),
    Entry("gc", "gc:gc", "List, and with --yes remove, what is ours and belongs to no instance.", SETUP),
    Group(
        "config",
        "Look at the configuration.",
        (
            Entry("show", "config:show", "Show every setting and where its value comes from."),
            Entry("validate", "config:validate", "Check a configuration file."),
            Entry("locations", "config:locations", "Show where configuration, state and token are."),
        ),
        SETUP,
    ),
    Entry("version", "version:version", "Print the version.", SETUP),
)


def add_commands(root: TyperGroup) -> None:
    """Put a stand-in for every command and alias into the group."""
    for item in COMMANDS:
        if isinstance(item, Entry):
            _add(root, item)
            continue
        for name in (item.name, *item.aliases):
            group = TyperGroup(
                name=name,
                help=item.help,
                no_args_is_help=True,
                hidden=name != item.name,
                rich_help_panel=item.panel,
                rich_markup_mode="rich",
            )
            for entry in item.entries:
                _add(group, entry)
            root.add_command(group, name)


def _add(group: TyperGroup, entry: Entry) -> None:
    for name in (entry.name, *entry.aliases):
        group.add_command(Deferred(name, entry.target, entry.help, hidden=name != entry.name, panel=entry.panel), name)
