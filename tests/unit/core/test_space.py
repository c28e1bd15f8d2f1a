"""When a disk is too full: by the share in use, unless what is left is ample."""

from __future__ import annotations

import pytest

from controller.space import AMPLE, Space

GIBIBYTE = 1024**3
HUNDRED = 100 * GIBIBYTE
MARK = 0.9


@pytest.mark.parametrize(
    ("space", "full", "nearly"),
    [
        (Space(HUNDRED, 16 * GIBIBYTE), False, False),
        (Space(HUNDRED, 11 * GIBIBYTE), False, True),
        (Space(HUNDRED, 10 * GIBIBYTE), True, True),
        (Space(2**30, 2**20), True, True),
        (Space(4000 * GIBIBYTE, 390 * GIBIBYTE), False, False),
        (Space(4000 * GIBIBYTE, AMPLE), False, True),
        (Space(4000 * GIBIBYTE, AMPLE - 1), True, True),
        (Space(60 * GIBIBYTE, AMPLE - 1), False, False),
        (Space(0, 0), False, False),
    ],
)
def test_full_is(space: Space, *, full: bool, nearly: bool) -> None:
    assert (space.is_full(MARK), space.is_nearly_full(MARK)) == (full, nearly)
