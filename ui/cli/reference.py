"""The command line's reference, made from the commands themselves: ``python -m ui.cli.reference > docs/cli.md``.

A test compares the file with what this prints, so the two cannot drift.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from .command_table import COMMANDS, Entry, Group
from .deferred import GLOBAL_PANEL, Deferred
from .example import example_manifest
from .exit_codes import MEANINGS
from .kinds import WORDS, KindName

_INTRODUCTION = """\
# Command line

<!-- Made by `python -m ui.cli.reference > docs/cli.md`; a test compares the two. Do not edit by hand. -->

`cco` is short for `cc-orchestrator`; both are the same program. It talks to the server over HTTP and keeps nothing
itself: whatever it starts goes on when it ends. `cco COMMAND --help` says the same as this page.
"""

_ENVIRONMENT = (
    ("CCO_SERVER", "address of the server, as `--server`"),
    ("CCO_TOKEN_FILE", "file with the API token, as `--token-file`"),
    ("CCO_TOKEN", "the API token itself; a file is better, because a process's environment is easily seen"),
    ("CCO_CONFIG", "the configuration file"),
    ("CCO_...", "every setting: see `cco config show`"),
    ("NO_COLOR", "no colours, as `--no-color`"),
)


def reference() -> str:
    """Return the whole page."""
    return "\n".join([_INTRODUCTION, *_general(), *_commands(), *_manifests()]).rstrip("\n") + "\n"


def _general() -> Iterator[str]:
    yield "## Words for kinds\n"
    yield "Singular, plural and short words mean the same:\n"
    for kind in KindName:
        yield f"- {', '.join(f'`{word}`' for word, each in WORDS.items() if each is kind)}"
    yield "\nThe groups take the plural, too: `cco instances list` is `cco instance list`.\n"
    yield "## Global options\n"
    yield "They may stand before or behind the command.\n"
    version = next(item for item in COMMANDS if isinstance(item, Entry) and item.name == "version")
    command = _load(version)
    yield from _options(command, [each for each in _shown(command) if each.rich_help_panel == GLOBAL_PANEL])
    yield "\n## Environment\n"
    yield from _table(("Variable", "Meaning"), [(f"`{name}`", meaning) for name, meaning in _ENVIRONMENT])
    yield "\n## Exit codes\n"
    yield from _table(("Code", "Meaning"), [(str(code.value), meaning) for code, meaning in MEANINGS.items()])
    yield "\nErrors go to standard error: what is wrong, and on a second line what to do next.\n"
    yield "## Output\n"
    yield (
        "`-o table` is for people; `-o wide` has more columns. `-o json` and `-o yaml` have every field that is set;\n"
        "several objects are a `kind: List`, which `apply` reads again. `-o name` is `kind/name`, one a line. With\n"
        '`--watch`, JSON is one object a line: `{"type": "ADDED|MODIFIED|DELETED", "object": {...}}`. What an\n'
        "instance says never reaches a terminal as control characters.\n"
    )
    yield "## Completion\n"
    yield "`cco --install-completion` installs it for the current shell; names of objects are completed, too.\n"


def _commands() -> Iterator[str]:
    for item in COMMANDS:
        if isinstance(item, Entry):
            yield from _entry(item, f"cco {item.name}", 2)
            continue
        yield f"## cco {item.name}\n"
        yield item.help + (f" Also: {_words(item.aliases)}." if item.aliases else "") + "\n"
        for entry in item.entries:
            if _is_shortcut(entry):
                yield f"### cco {item.name} {entry.name}\n"
                yield f"The same as [`cco {entry.name}`](#cco-{entry.name}).\n"
            else:
                yield from _entry(entry, f"cco {item.name} {entry.name}", 3)


def _entry(entry: Entry, path: str, level: int) -> Iterator[str]:
    command = _load(entry)
    yield f"{'#' * level} {path}\n"
    context = typer.Context(command, info_name=path, terminal_width=120)
    yield f"```\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    yield f"{command.help}\n"
    if entry.aliases:
        yield f"Also: {_words(entry.aliases)}.\n"
    arguments = [each for each in command.params if isinstance(each, TyperArgument)]
    if arguments:
        rows = [(f"`{each.display_name_raw}`", each.help or "") for each in arguments]
        yield from _table(("Argument", "Meaning"), rows)
        yield ""
    own = [each for each in _shown(command) if each.rich_help_panel != GLOBAL_PANEL]
    if own:
        yield from _options(command, own)
        yield ""


def _manifests() -> Iterator[str]:
    yield "## Manifests\n"
    yield (
        "YAML, or JSON, with any number of documents in a file; at most 1 MiB, 32 levels and 20,000 values. Unknown\n"
        "fields are errors. `status` and the fields of `metadata` that only the server writes are ignored, so what\n"
        "`cco get -o yaml` printed can be edited and applied. `cco init` writes this example:\n"
    )
    yield f"```yaml\n{example_manifest('shop')}```\n"
    yield "A repository, as `cco init` registers it:\n"
    yield (
        "```yaml\nkind: Repository\nmetadata:\n  name: shop\nspec:\n  path: /home/me/shop\n  base_branch: main\n"
        "  defaults:                       # for instances that leave the field out\n    model: opus\n```"
    )


def _load(entry: Entry) -> TyperCommand:
    return Deferred(entry.name, entry.target, entry.help).load()


def _is_shortcut(entry: Entry) -> bool:
    return any(isinstance(item, Entry) and item.target == entry.target for item in COMMANDS)


def _shown(command: TyperCommand) -> list[TyperOption]:
    return [each for each in command.params if isinstance(each, TyperOption) and not each.hidden]


def _options(command: TyperCommand, options: Sequence[TyperOption]) -> Iterator[str]:
    context = typer.Context(command, info_name="cco", terminal_width=120)
    rows = []
    for option in options:
        record = option.get_help_record(context)
        if record is not None:
            names, meaning = record
            rows.append((f"`{names.replace('|', chr(92) + '|')}`", meaning))
    yield from _table(("Option", "Meaning"), rows)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield f"|{'---|' * len(heading)}"
    for row in rows:
        yield f"| {' | '.join(' '.join(cell.split()) for cell in row)} |"


def _words(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def groups() -> list[Group]:
    """Return the nouns, for tests."""
    return [item for item in COMMANDS if isinstance(item, Group)]


if __name__ == "__main__":
    sys.stdout.write(reference())
