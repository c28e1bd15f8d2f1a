from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.resources import InstanceManifest, RepositoryManifest
from support.command_line import ROOT
from ui.cli.exit_codes import ExitCode
from ui.cli.failures import Failure
from ui.cli.manifests import load_manifests
from ui.cli.yaml_nodes import UnreadableError, read_documents

INSTANCE = """\
kind: Instance
metadata:
  name: web
spec:
  repository: shop
"""
REPOSITORY = """\
kind: Repository
metadata: {name: shop}
spec: {path: /srv/shop}
"""


def load(tmp_path: Path, text: str, name: str = "fleet.yaml") -> list[InstanceManifest | RepositoryManifest]:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return load_manifests([str(file)])


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(Failure) as caught:
        load(tmp_path, text)
    assert caught.value.code is ExitCode.INVALID
    return caught.value.message.replace(f"{tmp_path}/", "")


def test_repositories_come_first_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    kinds = [manifest.kind for manifest in load(tmp_path, f"{INSTANCE}---\n{REPOSITORY}---\n# nothing\n")]
    assert kinds == ["Repository", "Instance"]


def test_only_what_was_written_counts_as_set(tmp_path: Path) -> None:
    (manifest,) = load(tmp_path, INSTANCE)
    assert manifest.spec.model_fields_set == {"repository"}


def test_a_folder_is_its_manifests_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(INSTANCE.replace("web", "b"))
    (tmp_path / "a.yaml").write_text(INSTANCE.replace("web", "a"))
    (tmp_path / "c.json").write_text('{"kind":"Instance","metadata":{"name":"c"},"spec":{"repository":"shop"}}')
    (tmp_path / "notes.txt").write_text("not: [a manifest")
    assert [manifest.metadata.name for manifest in load_manifests([str(tmp_path)])] == ["a", "b", "c"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(INSTANCE.encode())))
    assert load_manifests(["-"])[0].metadata.name == "web"


def test_what_the_server_printed_can_be_applied_again(tmp_path: Path) -> None:
    printed = {
        "kind": "List",
        "items": [
            {
                "kind": "Instance",
                "metadata": {
                    "name": "web",
                    "uid": "3f2c",
                    "generation": 4,
                    "resource_version": 9,
                    "created_at": "2026",
                },
                "spec": {"repository": "shop"},
                "status": {"attempt": 2},
            }
        ],
    }
    assert load(tmp_path, yaml.safe_dump(printed))[0].metadata.name == "web"


@pytest.mark.parametrize(
    ("text", "line", "phrase"),
    [
        pytest.param(INSTANCE + "  branc: x\n", 6, "spec.branc: unknown field; did you mean 'branch'?", id="near"),
        pytest.param(INSTANCE + "  baseBranch: x\n", 6, "did you mean 'base_branch'?", id="camel case"),
        pytest.param(INSTANCE + "  zzz: x\n", 6, "known are repository, branch", id="nothing near"),
        pytest.param(
            INSTANCE + "  resources:\n    cpus: 1\n    ram: 2Gi\n",
            8,
            "spec.resources.ram: unknown field; known are cpus, memory, pids",
            id="nested",
        ),
        pytest.param(
            INSTANCE + "  resources:\n    memory: lots\n",
            7,
            "spec.resources.memory: 'lots' is not an amount",
            id="memory",
        ),
        pytest.param(
            INSTANCE + "  env:\n    PORT: 8080\n", 7, "8080 is not text: put it in quotes", id="number as text"
        ),
        pytest.param(INSTANCE + "  env:\n    ON: yes\n", 7, "True is not text: put it in quotes", id="boolean as text"),
        pytest.param(INSTANCE + "  operating_mode: Off\n", 6, "spec.operating_mode: False", id="off is a boolean"),
        pytest.param(INSTANCE + "  restart_policy: often\n", 6, "write 'Always', 'OnFailure' or 'Never'", id="word"),
        pytest.param(INSTANCE.replace("web", "Web_1"), 3, "'Web_1' is not a valid name", id="name"),
        pytest.param(INSTANCE + "  args: ['--model=x']\n", 6, "cannot be an extra argument: set spec.model", id="args"),
        pytest.param("kind: Instance\nmetadata: {name: web}\n", 1, "spec: is required", id="missing"),
        pytest.param(INSTANCE.replace("Instance", "instnace"), 1, "did you mean 'Instance'?", id="kind"),
        pytest.param("metadata: {name: web}\n", 1, "kind is missing; write Repository or Instance", id="no kind"),
        pytest.param("- a\n", 1, "a manifest is a mapping", id="a list"),
        pytest.param(INSTANCE + "  branch: a\n  branch: b\n", 7, "has the key 'branch' twice", id="a key twice"),
        pytest.param(
            INSTANCE + f"---\n{INSTANCE}", 7, "instance/web is declared twice, first at fleet.yaml:1", id="twice"
        ),
        pytest.param("kind: [", 1, "is not valid YAML", id="not YAML"),
        pytest.param("kind: !!python/object:os.system x\n", 1, "could not determine a constructor", id="a tag"),
        pytest.param("? [a]\n: b\n", 1, "a key that is not plain text", id="odd key"),
    ],
)
def test_names_file_line_field_and_way_out(tmp_path: Path, text: str, line: int, phrase: str) -> None:
    message = refused(tmp_path, text)
    assert message.startswith(f"fleet.yaml:{line}: ")
    assert phrase in message


def test_every_problem_is_told_at_once_and_the_list_is_bounded(tmp_path: Path) -> None:
    wrong = "---\n".join(INSTANCE.replace("web", f"WEB{number}") for number in range(13))
    message = refused(tmp_path, wrong)
    assert message.count("is not a valid name") == 10
    assert "... and 3 more" in message


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    assert "has no manifest" in refused(tmp_path, "# only a comment\n")


def test_a_missing_file_is_the_system_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_manifests([str(tmp_path / "none.yaml")])


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


HOSTILE = [
    pytest.param("[" * 1_000_000, "nests deeper than 32", id="a million brackets"),
    pytest.param("a: " + "{a: " * 40 + "1" + "}" * 40, "nests deeper than 32", id="mappings"),
    pytest.param(laughs(9), "once its aliases are expanded", id="a billion laughs"),
    pytest.param(
        "a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000)),
        "nests deeper than 32",
        id="a chain of aliases",
    ),
    pytest.param("a: &a [*a]", "an alias that contains itself", id="a circle"),
    pytest.param("- x\n" * 50_000, "more than 20000 values", id="many values"),
    pytest.param("x" * (1024**2 + 1), "at most 1048576", id="too big"),
    pytest.param("a: \0", "is not valid YAML", id="NUL"),
    pytest.param("a: 2026-13-45", "cannot read", id="an impossible date"),
    pytest.param("a: " + "9" * 5000, "cannot read", id="a huge integer"),
]


@pytest.mark.parametrize(("text", "phrase"), HOSTILE)
def test_hostile_text_is_refused_quickly(text: str, phrase: str) -> None:
    start = time.process_time()
    with pytest.raises(UnreadableError, match=phrase):
        read_documents(text.encode())
    assert time.process_time() - start < 5, "a bomb would take minutes of work"


_MEASURE = """
import contextlib, json, resource, sys
from ui.cli.yaml_nodes import UnreadableError, read_documents
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
texts, found = json.load(sys.stdin), []
read_documents(b"kind: Instance")
for text in texts:
    before, refused = peak(), True
    with contextlib.suppress(UnreadableError):
        read_documents(text.encode())
        refused = False
    found.append((peak() - before, refused))
print(json.dumps(found))
"""
"""Prints by how many KiB the most memory that this process ever had grew with each text, and whether it was refused."""


def test_hostile_text_costs_little_memory() -> None:
    """In a process of its own, together: what one leaves behind counts, too."""
    texts = [str(each.values[0]) for each in HOSTILE]
    texts.append("- x\n" * 19_000)  # nearly the largest that is read
    command = [sys.executable, "-c", _MEASURE]
    done = subprocess.run(
        command, input=json.dumps(texts), cwd=ROOT, capture_output=True, text=True, timeout=90, check=True
    )
    found: list[tuple[int, bool]] = json.loads(done.stdout)
    assert [refused for _, refused in found] == [True] * len(HOSTILE) + [False]
    assert sum(grown for grown, _ in found) <= 50 * 1024, found


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(UnreadableError, match="not UTF-8"):
        read_documents(b"a: \xff")


def test_aliases_and_merge_keys_work(tmp_path: Path) -> None:
    text = "kind: Instance\nmetadata: {name: web}\nspec:\n  <<: &base {repository: shop, branch: x}\n  branch: y\n"
    (manifest,) = load(tmp_path, text)
    assert isinstance(manifest, InstanceManifest)
    assert manifest.spec.branch == "y"


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab:-{}[]&*!|>'\"#% \n\t0?<,")), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UnreadableError):
        read_documents(text.encode())
