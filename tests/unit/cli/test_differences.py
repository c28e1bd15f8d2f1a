from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from controller.resources import Instance, InstanceManifest
from ui.cli.differences import diff_lines
from ui.cli.example import example_manifest
from ui.cli.manifests import load_manifests

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)


def an_instance(version: int = 1, **spec: object) -> Instance:
    return Instance.model_validate(
        {
            "metadata": {"name": "web", "uid": "1", "created_at": NOW, "resource_version": version},
            "spec": {"repository": "shop", **spec},
        }
    )


def test_equal_objects_have_no_difference_whatever_the_server_counts() -> None:
    assert diff_lines("instance/web", an_instance(1), an_instance(2)) == []


def test_a_changed_field_is_one_line_out_and_one_in() -> None:
    lines = diff_lines("instance/web", an_instance(), an_instance(branch="x", resources={"cpus": 2}))
    assert ("--- instance/web (now)", "removed") in lines
    assert ("+  branch: x", "added") in lines
    assert ("-    cpus: 1.0", "removed") in lines
    assert ("+    cpus: 2.0", "added") in lines
    assert not any("resource_version" in line or "uid" in line for line, _ in lines)


def test_a_new_object_is_all_added() -> None:
    lines = diff_lines("instance/web", None, an_instance())
    assert lines[0] == ("--- /dev/null", "removed")
    assert all(line.startswith("+") for line, _ in lines[3:])


def test_the_example_is_a_manifest(tmp_path: Path) -> None:
    file = tmp_path / "cc-orchestrator.yaml"
    file.write_text(example_manifest("shop"))
    (manifest,) = load_manifests([str(file)])
    assert manifest.metadata.name == "first"
    assert manifest.spec.model_fields_set == {"repository"}


def test_every_field_stands_in_the_example_and_uncommented_it_is_a_manifest_too(tmp_path: Path) -> None:
    head, _, body = example_manifest("shop").partition("kind: Instance")
    assert all(line.startswith("#") or not line for line in head.splitlines())
    file = tmp_path / "cc-orchestrator.yaml"
    file.write_text("kind: Instance" + re.sub(r"(?m)^  # ", "  ", body))
    (manifest,) = load_manifests([str(file)])
    assert isinstance(manifest, InstanceManifest)
    internal = {"restart_generation", "retry_generation"}
    assert manifest.spec.model_fields_set == set(type(manifest.spec).model_fields) - internal
    assert manifest.metadata.labels == {"team": "web"}
