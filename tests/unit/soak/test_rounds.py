"""``make soak`` runs for a day: whatever it stumbles over must end up in its result, not end it without one."""

from __future__ import annotations

import argparse
from random import Random
from typing import cast

import pytest

from faults.world.installation import World
from soak.__main__ import _grown, _soak
from soak.chaos import DEATHS, FAULTS, OF_TALKERS, Fleet
from soak.gauges import Gauge, Sample

NO_WORLD = cast("World", None)


class Stumbling(Fleet):
    """Has no world, and trips over that."""

    def do_work(self, how_many: int = 3) -> None:
        del how_many
        raise LookupError("no such instance")


def options(**changes: object) -> argparse.Namespace:
    return argparse.Namespace(**{"minutes": 1.0, "every": 0.0, "instances": 1, "only": [], **changes})


def test_what_the_soak_itself_stumbles_over_is_a_result_and_ends_it() -> None:
    result = _soak(Stumbling(NO_WORLD, ["web"], frozenset(), Random(1)), options(only=["replaced"]))  # noqa: S311  # repeatable
    assert (result["rounds"], result["faults"]) == (1, {"replaced": 1})
    assert result["violations"] == ["round 1, replaced: LookupError: no such instance"]


def test_what_only_the_real_client_has_is_only_aimed_at_it() -> None:
    class Up(Fleet):
        def up(self) -> list[str]:
            return self.names

    fleet = Up(NO_WORLD, ["light", "real", "other"], frozenset({"real"}), Random(1))  # noqa: S311  # repeatable
    assert {fleet.one(talker=True) for _ in range(20)} == {"real"}
    assert {fleet.one() for _ in range(50)} == {"light", "real", "other"}
    assert set(OF_TALKERS) < set(FAULTS)
    assert not set(FAULTS) & set(DEATHS)


@pytest.mark.parametrize(
    ("hours", "mib", "files", "grown"),
    [
        (0.3, 20.0, 50, []),
        (1.0, 5.0, 0, []),
        (1.0, 10.0, 0, ["rss_growth_mib"]),
        (1.0, 0.0, 5, []),
        (1.0, 0.0, 10, ["fds_growth"]),
        (24.0, 20.0, 0, []),
        (24.0, 30.0, 60, ["rss_slope_mib_per_hour", "fds_slope_per_hour"]),
    ],
)
def test_growth_is_judged_by_the_hour_once_there_are_enough_of_them(
    hours: float, mib: float, files: int, grown: list[str]
) -> None:
    points = [number / 100 for number in range(101)]
    samples = [Sample(at * hours * 3600, 1, 70 + mib * at, 90 + round(files * at), 20) for at in points]
    told = _grown({"controller": Gauge(samples).summary()})
    assert [each.split(":")[1].split()[0] for each in told] == grown
