"""What is written down in more than one file agrees, and nothing that is pinned says where it comes from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.settings import Settings

ROOT = Path(__file__).parents[3]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))
DOCKERFILES = sorted((ROOT / "containers").glob("*/Dockerfile"))


@pytest.fixture
def version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def compose(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return document


@pytest.mark.parametrize("name", ["compose.yaml", "compose.demo.yaml"])
def test_compose_tags_every_image_with_the_projects_version(name: str, version: str) -> None:
    images = {service["image"] for service in compose(name)["services"].values() if "image" in service}

    assert images
    assert all(image.startswith("cc-orchestrator/") and image.endswith(f":{version}") for image in images)


def test_the_default_instance_image_is_the_one_compose_builds(version: str) -> None:
    built = compose("compose.yaml")["services"]["instance"]["image"]

    assert Settings.model_fields["instance_image"].default == built == f"cc-orchestrator/instance:{version}"


def test_compose_hands_over_every_setting() -> None:
    fixed = {"CCO_RUNTIME", "CCO_CLAUDE"}  # the controller's container holds no processes but its own
    known = {f"CCO_{field.upper()}" for field in Settings.model_fields} - fixed
    handed = {
        name
        for service in compose("compose.yaml")["services"].values()
        for name in service.get("environment", {})
        if name.startswith("CCO_")
    }

    assert handed == known | {"CCO_SECRETS_FILE"}


def test_no_credential_is_a_variable_of_a_service() -> None:
    for name in ("compose.yaml", "compose.demo.yaml"):
        for service in compose(name)["services"].values():
            assert not {key for key in service.get("environment", {}) if re.search("KEY|TOKEN|SECRET$", key)}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_requirements_are_pinned_with_hashes_and_without_addresses(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"^[a-z0-9].*(?:\n    --hash=.*)*", text, flags=re.MULTILINE)

    assert "://" not in text
    assert blocks
    assert all("==" in block.splitlines()[0] and "--hash=sha256:" in block for block in blocks)


def test_every_requirement_is_the_same_version_everywhere() -> None:
    versions: dict[str, set[str]] = {}
    for path in REQUIREMENTS:
        for name, version in re.findall(
            r"^([a-z0-9._-]+)==([^ ;\\]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE
        ):
            versions.setdefault(name, set()).add(version)

    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_images_start_from_the_one_public_base(path: Path) -> None:
    names: set[str] = set()
    for base, name in re.findall(r"^FROM (\S+)(?: AS (\S+))?", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
        assert base == "debian:trixie-slim" or base in names
        names.add(name)


def test_the_client_is_pinned_in_one_place() -> None:
    lock = (ROOT / "containers/instance/claude-code.lock").read_text(encoding="utf-8")
    pinned = re.search(r"^version=(\d+\.\d+\.\d+)$", lock, flags=re.MULTILINE)

    assert pinned is not None
    assert re.findall(r"^integrity_(x64|arm64)=sha512-\S{88}$", lock, flags=re.MULTILINE) == ["x64", "arm64"]
    for path in DOCKERFILES:
        assert pinned[1] not in path.read_text(encoding="utf-8")
