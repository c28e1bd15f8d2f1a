"""Shows the values in failed assertions of what several tests share. Before anything of it is imported, hence here."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("contracts", "support")
