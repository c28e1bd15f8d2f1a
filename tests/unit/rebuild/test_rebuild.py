"""A lost database is put together again, and the next controller finds everything where it is."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller import __main__ as program
from controller.errors import Terminal, Unavailable
from controller.leadership import take
from controller.manifests import Manifests
from controller.rebuild import rebuild
from controller.reconcile.loop import Request
from controller.resources import Instance, OperatingMode
from controller.runtime.choice import Runtimes, only
from controller.store import Store
from support.fake_engine import FakeEngine
from support.fake_runtime import FakeRuntime
from support.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path / "s")
    monkeypatch.setattr(Runtimes, "from_settings", lambda *_: only(FakeRuntime(made.engine)))
    yield made
    made.close()


@pytest.fixture
def fleet(world: World) -> World:
    """One that runs, one that was changed, one that is stopped, and one that is being deleted."""
    world.ready("web")
    world.declare("api", branch="feature/api", prompt="build it", env={"MODE": "x"}, model="opus")
    world.settle("api")
    world.change("api", restart_generation=3)
    world.settle("api")
    world.declare("resting")
    world.settle("resting")
    world.change("resting", operating_mode="Stopped")
    world.settle("resting")
    return world


def lose(world: World) -> None:
    """Remove the database, as somebody might who is short of space."""
    world.store.close()
    for part in world.settings.state_dir.glob("state.db*"):
        part.unlink()


def forget(world: World, name: str) -> None:
    """Remove what was written for this day."""
    Manifests(world.settings).forget_instance(name)


def put_back(world: World) -> list[str]:
    """Rebuild, and open what was made."""
    lines: list[str] = []
    rebuild(world.settings, lines.append, yes=True)
    world.store = Store.open(world.settings.database)
    return lines


def declared(instance: Instance) -> object:
    return instance.metadata.model_copy(update={"resource_version": 0}), instance.spec


NAMES = ("web", "api", "resting")


def test_everything_is_back_and_nothing_is_touched(fleet: World) -> None:
    before = {name: fleet.get(name) for name in NAMES}
    shop, identity = fleet.store.repositories.get("shop"), fleet.store.installation_id
    revision = fleet.store.revision()
    mark = fleet.settings.state_dir / "state.db.mark"
    kept = mark.read_bytes()
    lose(fleet)
    mark.write_bytes(kept)
    changes = list(fleet.engine.changes)

    lines = put_back(fleet)
    assert fleet.store.installation_id == identity
    assert {name: declared(fleet.get(name)) for name in NAMES} == {name: declared(before[name]) for name in NAMES}
    again = fleet.store.repositories.get("shop")
    assert (again.metadata.uid, again.spec) == (shop.metadata.uid, shop.spec)
    assert fleet.store.revision() > revision, "whoever watched has to list again"
    assert any(before["web"].metadata.uid in line for line in lines)

    fleet.repository_reconciler().reconcile(Request("shop"))
    for name in NAMES:
        fleet.settle(name)
    assert fleet.engine.changes == changes, "no container was made, stopped or started"
    assert fleet.condition("Ready", "web").status == "True"
    assert fleet.condition("Ready", "api").status == "True"
    assert fleet.get("resting").spec.operating_mode is OperatingMode.STOPPED
    api = fleet.get("api")
    assert api.status.restarted_generation == api.spec.restart_generation == 3, "nothing that was asked for is to do"
    attempts = {name: fleet.get(name).status.attempt for name in NAMES}
    assert attempts == {name: before[name].status.attempt for name in NAMES}


def test_without_being_told_to_it_only_says_what_it_would_do(fleet: World) -> None:
    lose(fleet)
    before = sorted(fleet.settings.state_dir.rglob("*"))
    lines: list[str] = []
    rebuild(fleet.settings, lines.append)
    assert [
        path for path in sorted(fleet.settings.state_dir.rglob("*")) if "controller.lock" not in path.name
    ] == before
    text = "\n".join(lines)
    for word in ("state.db: is not there", "repository shop: /repositories/shop", "instance web (uid ", "feature/api"):
        assert word in text
    assert "--yes" in lines[-1]


def test_labels_tell_of_those_whose_files_are_lost(fleet: World) -> None:
    before = fleet.get("api")
    lose(fleet)
    shutil.rmtree(fleet.settings.state_dir / "instances")
    shutil.rmtree(fleet.settings.state_dir / "repositories")
    changes = list(fleet.engine.changes)
    lines = put_back(fleet)
    api = fleet.get("api")
    assert api.metadata.uid == before.metadata.uid
    # A label tells what was declared when the workload was made; the restart was asked for later.
    assert api.spec == before.spec.model_copy(update={"prompt": None, "env": {}, "restart_generation": 0})
    assert fleet.store.repositories.get("shop").spec.path == "/repositories/shop"
    assert fleet.store.instances.names() == ["api", "web"], "of one without a container nothing tells any more"
    text = "\n".join(lines)
    assert "not known any more: prompt, env.MODE" in text
    assert "repository 'shop' is known by its path alone" in text
    fleet.repository_reconciler().reconcile(Request("shop"))
    fleet.settle("web")
    assert fleet.engine.changes == changes


def test_one_that_rested_is_not_started_by_what_its_label_says(fleet: World) -> None:
    fleet.change("web", operating_mode="Suspended")
    fleet.settle("web")
    lose(fleet)
    forget(fleet, "web")
    changes = list(fleet.engine.changes)
    put_back(fleet)
    assert fleet.get("web").spec.operating_mode is OperatingMode.SUSPENDED
    fleet.repository_reconciler().reconcile(Request("shop"))
    fleet.settle("web")
    assert fleet.engine.changes == changes


def test_what_the_agent_was_told_completes_a_label(fleet: World) -> None:
    before = fleet.get("api")
    lose(fleet)
    forget(fleet, "api")
    tell_agent(fleet, before)
    lines = put_back(fleet)
    assert fleet.get("api").spec == before.spec.model_copy(update={"restart_generation": 0})
    assert not any("not known any more" in line for line in lines)


def tell_agent(world: World, instance: Instance) -> None:
    """Write what the real links write; those of this world keep it to themselves."""
    meta, spec = instance.metadata, instance.spec
    place = instance.status.workspace
    assert place is not None
    folder = world.settings.instance_dir(meta.name)
    (folder / "run").mkdir(parents=True, exist_ok=True)
    told = {
        "schema": 1,
        "name": meta.name,
        "uid": meta.uid,
        "attempt": instance.status.attempt,
        "config_hash": "h",
        "workdir": place.path,
        "git_dir": place.git_dir,
        "session_id": meta.uid,
        "base_url": None,
        "heartbeat_seconds": 5,
        **spec.model_dump(mode="json", include={"prompt", "model", "permission_mode", "args", "layout", "env"}),
    }
    (folder / "run" / "instance.json").write_text(json.dumps(told))
    workspace = {"schema": 1, "uid": meta.uid, "repository": "/repositories/shop", "branch": instance.branch}
    (folder / "workspace.json").write_text(json.dumps({**workspace, "worktree": place.path}))


def test_folders_tell_of_those_that_nothing_else_tells_of(fleet: World) -> None:
    before = fleet.get("resting")
    lose(fleet)
    forget(fleet, "resting")
    tell_agent(fleet, before)
    (fleet.settings.state_dir / "instances" / "empty").mkdir()
    lines = put_back(fleet)
    resting = fleet.get("resting")
    assert resting.metadata.uid == before.metadata.uid
    assert (resting.branch, resting.spec.repository) == ("resting", "shop")
    assert resting.spec.operating_mode is OperatingMode.STOPPED
    assert any("from what its agent was told; not known any more: image" in line for line in lines)
    assert any("nothing there tells how instance 'empty' was declared" in line for line in lines)


def test_a_damaged_database_is_kept_aside(fleet: World) -> None:
    fleet.store.close()
    path = fleet.settings.database
    damaged = os.urandom(8192)
    path.write_bytes(damaged)
    with pytest.raises(Terminal, match="rebuild"):
        Store.open(path)
    lines = put_back(fleet)
    assert set(fleet.store.instances.names()) == set(NAMES)
    (kept,) = fleet.settings.state_dir.glob("state.db.damaged-*")
    assert kept.read_bytes() == damaged
    assert any(line == f"kept: {kept}" for line in lines)


def test_a_sound_database_is_not_replaced(fleet: World) -> None:
    fleet.store.close()
    before = fleet.settings.database.read_bytes()
    with pytest.raises(Terminal, match="can be read and is whole") as refused:
        rebuild(fleet.settings, print, yes=True)
    assert refused.value.reason == "DatabaseSound"
    assert fleet.settings.database.read_bytes() == before
    fleet.store = Store.open(fleet.settings.database)


def test_two_that_claim_one_branch_are_not_both_put_back(fleet: World) -> None:
    manifests = Manifests(fleet.settings)
    api = fleet.get("api")
    lose(fleet)
    twin = api.model_copy(update={"metadata": api.metadata.model_copy(update={"name": "twin", "uid": "another"})})
    manifests.remember(twin)
    lines = put_back(fleet)
    assert set(fleet.store.instances.names()) == set(NAMES)
    assert any("instance twin (uid another) was left out: spec.branch" in line for line in lines)


def test_a_damaged_manifest_is_told_and_its_label_believed(fleet: World) -> None:
    lose(fleet)
    (fleet.settings.instance_dir("web") / "manifest.json").write_text("{")
    lines = put_back(fleet)
    assert set(fleet.store.instances.names()) == set(NAMES)
    assert any("manifest.json is unreadable" in line for line in lines)
    assert any("instance web" in line and "from the label of cco-web-1" in line for line in lines)


def test_an_engine_that_does_not_answer_may_hide_instances(fleet: World) -> None:
    lose(fleet)
    fleet.engine.fail_next("belongings", Unavailable("RuntimeUnavailable", "no engine"))
    with pytest.raises(Terminal, match="--without-runtimes") as refused:
        rebuild(fleet.settings, print, yes=True)
    assert refused.value.reason == "RuntimeNeeded"
    assert not fleet.settings.database.exists()
    rebuild(fleet.settings, print, yes=True, with_runtimes=False)
    fleet.store = Store.open(fleet.settings.database)
    assert set(fleet.store.instances.names()) == set(NAMES)


def two_runtimes(world: World, monkeypatch: pytest.MonkeyPatch, default: str) -> None:
    """Let there be a second runtime beside the one that carries everything: an engine that is not there."""
    working, broken = FakeRuntime(world.engine), FakeRuntime(FakeEngine())
    error = Unavailable("RuntimeUnavailable", "no engine")
    monkeypatch.setattr(broken, "belongings", lambda: (_ for _ in ()).throw(error))
    # The instances' own runtime has this name in their status.
    makers = {"docker": lambda: working, "engine": lambda: broken}
    monkeypatch.setattr(Runtimes, "from_settings", lambda *_: Runtimes(default, makers))


def test_a_runtime_that_nothing_tells_of_need_not_answer(fleet: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(fleet)
    two_runtimes(fleet, monkeypatch, default="docker")
    lines = put_back(fleet)
    assert set(fleet.store.instances.names()) == set(NAMES)
    assert any("runtime 'engine' is neither" in line and "no engine" in line for line in lines)


def test_the_one_that_is_set_must_answer_or_be_left_out_by_name(fleet: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(fleet)
    forget(fleet, "web")
    two_runtimes(fleet, monkeypatch, default="engine")
    with pytest.raises(Terminal, match="'--without-runtime engine'") as refused:
        rebuild(fleet.settings, print, yes=True)
    assert refused.value.reason == "RuntimeNeeded"
    with pytest.raises(Terminal, match="--without-runtime enigne: is not installed; there is: docker, engine"):
        rebuild(fleet.settings, print, yes=True, without=["enigne"])
    assert not fleet.settings.database.exists()
    rebuild(fleet.settings, print, yes=True, without=["engine"])
    fleet.store = Store.open(fleet.settings.database)
    assert set(fleet.store.instances.names()) == set(NAMES), "the other one was asked: web is known by its label alone"


def test_a_running_controller_is_in_the_way(fleet: World) -> None:
    lose(fleet)
    lock = take(fleet.settings.state_dir)
    with pytest.raises(Terminal, match="another controller"):
        rebuild(fleet.settings, print, yes=True)
    lock.release()


def test_the_installation_must_be_known(fleet: World) -> None:
    lose(fleet)
    file = fleet.settings.state_dir / "installation"
    identity = file.read_text().strip()
    with pytest.raises(Terminal, match=f"belongs to installation {identity}"):
        rebuild(fleet.settings, print, installation="11111111-1111-4111-8111-111111111111")
    file.unlink()
    with pytest.raises(Terminal, match="docker ps") as refused:
        rebuild(fleet.settings, print, yes=True)
    assert refused.value.reason == "InstallationUnknown"
    with pytest.raises(Terminal, match="no installation's id"):
        rebuild(fleet.settings, print, yes=True, installation="mine")
    rebuild(fleet.settings, print, yes=True, installation=identity)
    fleet.store = Store.open(fleet.settings.database)
    assert fleet.store.installation_id == identity
    assert file.read_text().strip() == identity


def test_where_nothing_is_nothing_is_made(world: World) -> None:
    lose(world)
    with pytest.raises(Terminal, match="begin with an empty database"):
        rebuild(world.settings, print, yes=True)
    assert not world.settings.database.exists()


def test_what_cannot_be_read_is_not_taken_for_nothing(fleet: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs it may be another user than the controller; root reads everything, so that is played here."""
    lose(fleet)
    looked = Path.iterdir

    def refuse(folder: Path) -> Iterator[Path]:
        if folder.name == "web":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return looked(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(Terminal, match=r"instances/web cannot be read: Permission denied.*docker compose run"):
        rebuild(fleet.settings, print, yes=True)
    assert not fleet.settings.database.exists()


def test_it_is_a_command(fleet: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(program, "stop_at_signals", lambda: None)
    monkeypatch.setattr(program, "configure_logging", lambda _: None)
    monkeypatch.setenv("CCO_STATE_DIR", str(fleet.settings.state_dir))
    lose(fleet)
    assert program.main(["rebuild"]) == 0
    assert "Nothing was changed" in capsys.readouterr().out
    assert program.main(["rebuild", "--without-runtimes", "--port", "8090"]) == 0
    told = capsys.readouterr().out.strip().rpartition("To put this back: ")[2]
    assert told == "python -m controller rebuild --without-runtimes --port 8090 --yes"
    assert program.main(shlex.split(told)[3:]) == 0
    assert "made anew" in capsys.readouterr().out
    assert program.main(["rebuild", "--yes"]) == 1
    assert capsys.readouterr().err.startswith("controller: DatabaseSound: ")
    fleet.store = Store.open(fleet.settings.database)
