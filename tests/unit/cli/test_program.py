from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from ui.cli.command_table import COMMANDS, Entry, Group
from ui.cli.deferred import Deferred
from ui.cli.exit_codes import MEANINGS, ExitCode
from ui.cli.program import app
from ui.cli.reference import reference

ROOT = Path(__file__).parents[3]
SERVER_SIDE = ("fastapi", "starlette", "nicegui", "sqlalchemy", "docker", "git", "uvicorn")
ENTRIES = [
    (f"{item.name} {entry.name}" if isinstance(item, Group) else entry.name, entry)
    for item in COMMANDS
    for entry in (item.entries if isinstance(item, Group) else (item,))
]


def cco(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from ui.cli.main import main; sys.argv[0] = 'cco'; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, text=True, capture_output=True, check=False
    )


@pytest.mark.parametrize(("path", "entry"), ENTRIES, ids=[path for path, _ in ENTRIES])
def test_the_table_says_what_the_command_says_and_its_help_works(path: str, entry: Entry) -> None:
    command = Deferred(entry.name, entry.target, entry.help).load()
    assert (command.help or "").split("\n\n")[0] == entry.help
    result = cco(*path.split(), "--help")
    assert result.exit_code == 0
    assert entry.help.split()[0] in result.stdout


def test_every_command_takes_the_global_options_behind_it() -> None:
    for _, entry in ENTRIES:
        names = {option for each in Deferred(entry.name, entry.target, "").load().params for option in each.opts}
        assert {"--server", "--token-file", "--no-color", "--debug"} <= names


def test_the_reference_is_what_the_program_says() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference(), (
        "run: python -m ui.cli.reference > docs/cli.md"
    )


def test_exit_codes_are_in_the_help_and_each_has_words() -> None:
    assert set(MEANINGS) == set(ExitCode)
    text = " ".join(cco("--help").stdout.split())
    assert all(f"{code.value} " in text for code in ExitCode)


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["frobnicate"], "No such command 'frobnicate'", "cco --help"),
        (["instance", "spwn"], "Did you mean 'spawn'", "cco instance --help"),
        (["get"], "Missing argument 'KIND'", "cco get --help"),
        (["get", "instance", "--frob"], "No such option: --frob", "cco get --help"),
        (
            ["get", "services"],
            "'services' is not a kind; write one of instances, repositories, events",
            "cco get --help",
        ),
        (["get", "instnaces"], "did you mean 'instances'?", "cco get --help"),
        (["get", "instances", "-o", "xml"], "xml", "cco get --help"),
        (["wait", "instance/web", "--for", "sunshine"], "'sunshine' is not a goal", "cco wait --help"),
        (["wait", "instance/web", "--timeout", "soon"], "'soon' is not a duration", "cco wait --help"),
        (["delete"], "give either KIND NAME... or -f FILE", "cco delete --help"),
        (["describe", "instance"], "name at least one instance", "cco describe --help"),
        (["send", "web"], "give the prompt either as TEXT", "cco send --help"),
    ],
)
def test_usage_errors_are_two_lines_and_code_2(arguments: list[str], message: str, hint: str) -> None:
    result = CliRunner().invoke(app, arguments, prog_name="cco")
    assert result.exit_code == ExitCode.USAGE
    assert result.stdout == ""
    first, second = result.stderr.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert second == f"  next: {hint}"


def test_groups_print_their_help() -> None:
    for words in ([], ["instance"], ["instances"], ["repositories"], ["config"]):
        result = cco(*words)
        assert result.exit_code == ExitCode.USAGE
        assert "Commands" in result.stdout or "Start here" in result.stdout
        assert result.stderr == ""


def test_no_server_is_one_sentence_with_the_way_out() -> None:
    result = cco("get", "instances", "--server", "http://127.0.0.1:9")
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert "no cc-orchestrator server answers at http://127.0.0.1:9" in result.stderr
    assert "Traceback" not in result.output


def test_an_unforeseen_error_is_a_sentence_and_debug_shows_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("ui.cli.commands.version.release", broken)
    quiet = cco("version")
    assert (quiet.exit_code, quiet.stdout) == (ExitCode.GENERAL, "")
    assert quiet.stderr.splitlines()[0] == "error: unforeseen ZeroDivisionError: by nought"
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in cco("version", "--debug").stderr


def test_ctrl_c_is_quiet_and_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("ui.cli.commands.version.release", interrupted)
    result = cco("version")
    assert (result.exit_code, result.output) == (ExitCode.INTERRUPTED, "")


def test_a_reader_that_went_away_is_quiet() -> None:
    code = "import sys; from ui.cli.main import main; sys.argv[0] = 'cco'; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "config", "locations"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=30) == ExitCode.BROKEN_PIPE


def test_version_brings_nothing_along() -> None:
    code = (
        "import sys; from ui.cli.main import main; sys.argv[:] = ['cco', 'version']; main();"
        "sys.exit(any(name in sys.modules for name in ('typer', 'pydantic', 'httpx', 'rich')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("cc-orchestrator ")


def test_a_list_brings_only_what_it_needs() -> None:
    code = (
        "import gc, sys, ui.cli.main; sys.argv[:] = ['cco', 'get', 'instances', '--server', '127.0.0.1:9'];\n"
        "try: ui.cli.main.main()\n"
        "except SystemExit as end: print(end.code)\n"
        "print([name for name in ('yaml', 'rich', 'textual', 'uvicorn', 'httpx._main') if sys.modules.get(name)])\n"
        "print(gc.isenabled(), gc.get_freeze_count() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.split("\n")[:3] == [str(ExitCode.UNAVAILABLE.value), "[]", "True True"]


def test_no_command_imports_the_server_side() -> None:
    modules = sorted({entry.target.split(":")[0] for _, entry in ENTRIES})
    code = (
        "import sys, ui.cli.program;"
        f"[__import__(f'ui.cli.commands.{{name}}') for name in {modules!r}];"
        f"print([name for name in {SERVER_SIDE!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"


def test_config_show_tells_where_values_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("port: 9000\nmodel_base_url: http://me:secret@gateway/v1\n")
    monkeypatch.setenv("CCO_LOG_LEVEL", "DEBUG")
    table = {line.split()[0]: line for line in cco("config", "show").stdout.splitlines()}
    assert table["port"].split() == ["port", "9000", str(tmp_path / "config.yaml")]
    assert table["log_level"].split()[1:] == ["DEBUG", "CCO_LOG_LEVEL"]
    assert table["workers"].split()[1:] == ["4", "default"]
    assert "secret" not in "".join(table.values())
    values = json.loads(cco("config", "show", "-o", "json").stdout)
    assert values["port"] == 9000
    assert values["model_base_url"] == "http://********@gateway/v1"
    assert yaml.safe_load(cco("config", "show", "-o", "yaml").stdout) == values


def test_config_validate(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    assert "does not exist" in cco("config", "validate").stdout
    file.write_text("prt: 9000\nworkers: many\n")
    result = cco("config", "validate")
    assert result.exit_code == ExitCode.INVALID
    assert "did you mean 'port'" in result.stderr
    assert "workers" in result.stderr
    other = tmp_path / "other.yaml"
    other.write_text("port: 9001\n")
    assert cco("config", "validate", str(other)).stdout == f"{other}: valid\n"
    assert cco("config", "validate", str(tmp_path / "none.yaml")).exit_code == ExitCode.NOT_FOUND


def test_config_validate_blames_what_is_to_blame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("port: x\n")
    result = cco("config", "validate")
    assert result.stderr.startswith(f"error: {file}: port: ")
    named = result.stderr.partition("setting, ")[2].partition(" explains")[0]
    assert (ROOT / named).is_file(), result.stderr
    file.write_text("port: [\n")
    assert cco("config", "validate").stderr.startswith(f"error: {file}: is not YAML")
    file.unlink()
    monkeypatch.setenv("CCO_MAX_INSTANCES", "-1")
    assert cco("config", "validate").stderr.startswith("error: CCO_MAX_INSTANCES: ")


def test_config_show_names_the_other_source_and_the_file_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://gateway")
    monkeypatch.setenv("CCO_MODEL_BASE_URL", "")
    result = cco("config", "show")
    line = next(line for line in result.stdout.splitlines() if line.startswith("model_base_url"))
    assert line.split() == ["model_base_url", "http://gateway", "ANTHROPIC_BASE_URL"]
    assert f"there is no file {tmp_path / 'config.yaml'}, which CCO_CONFIG names" in result.stderr


def test_a_wrong_configuration_stops_every_command_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("prt: 9000\n")
    result = cco("get", "instances")
    assert result.exit_code == ExitCode.INVALID
    assert "did you mean 'port'" in result.stderr


def test_config_locations(tmp_path: Path) -> None:
    places = json.loads(cco("config", "locations", "-o", "json").stdout)
    assert places["configuration"] == str(tmp_path / "config.yaml")
    assert places["token"] == str(tmp_path / "state" / "token")
    assert "state.db" in cco("config", "locations").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_without_loading_them(shell: str) -> None:
    result = CliRunner().invoke(
        app,
        [],
        prog_name="cco",
        env={
            "_CCO_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": "cco in",
            "COMP_CWORD": "1",
            "_TYPER_COMPLETE_ARGS": "cco in",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    )
    assert "instance" in result.stdout
    assert "init" in result.stdout
    assert '"instances"' not in result.stdout


def test_the_process_itself(tmp_path: Path) -> None:
    assert process("instance", "--help").returncode == 0
    wrong = process("frob")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Traceback" not in wrong.stderr
    assert process("apply", "-f", str(tmp_path / "none.yaml")).returncode == ExitCode.NOT_FOUND
