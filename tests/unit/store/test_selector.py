from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.resources import InstanceManifest
from controller.store import Selector, Store

New = Callable[..., InstanceManifest]

LABELS: dict[str, dict[str, str]] = {
    "a": {},
    "b": {"team": "web"},
    "c": {"team": "api", "tier": "test"},
    "d": {"team": "", "cc.io/kind": "x"},
    "e": {"tier": "web", "te.am": "web"},
}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path: Path = tmp_path_factory.mktemp("selector") / "state.db"
    with Store.open(path) as store:
        for name, labels in LABELS.items():
            store.instances.create(
                InstanceManifest.model_validate(
                    {"metadata": {"name": name, "labels": labels}, "spec": {"repository": "r"}}
                )
            )
        yield store


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "abcde"),
        ("team=web", "b"),
        ("team==web", "b"),
        ("team!=web", "acde"),
        ("team", "bcd"),
        ("!team", "ae"),
        ("team=", "d"),
        ("cc.io/kind=x", "d"),
        ("te.am=web", "e"),
        (" team = api , tier = test ", "c"),
        ("team,!tier", "bd"),
    ],
)
def test_selectors_mean_what_kubernetes_means(labelled: Store, text: str, names: str) -> None:
    assert [i.metadata.name for i in labelled.instances.list(labels=Selector.parse(text))] == list(names)


@pytest.mark.parametrize("text", ["a b", "=x", "!=x", "!", "a=b=c", "a in (b)", "a=ü", "a='x'", 'a"]'])
def test_anything_else_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="is not a label condition: write 'key=value'"):
        Selector.parse(text)


WORDS = st.sampled_from(["team", "tier", "web", "api", "test", "cc.io/kind", "te.am", "x", "none"])
PARTS = st.one_of(
    st.tuples(WORDS, st.sampled_from(["=", "!=", "=="]), WORDS).map("".join), WORDS, WORDS.map("!{}".format)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(parts=st.lists(PARTS, max_size=4))
def test_the_database_and_python_agree(labelled: Store, parts: list[str]) -> None:
    selector = Selector.parse(",".join(parts))
    found = [i.metadata.name for i in labelled.instances.list(labels=selector)]
    assert found == [name for name, labels in LABELS.items() if selector.matches(labels)]
