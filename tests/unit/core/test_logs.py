"""Lines of the log: the time in UTC, the message, and the bound fields behind it, one line whatever they hold."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from controller.logs import FieldFormatter, RecentLines, configure_logging, recent_lines


def line(message: str = "it happened", level: int = logging.INFO, **fields: object) -> str:
    record = logging.LogRecord("controller.loop", level, __file__, 1, message, (), None)
    record.created = 1_767_268_800.9
    vars(record).update(fields)
    return FieldFormatter().format(record)


def test_a_line_has_time_level_logger_and_message() -> None:
    assert line() == "2026-01-01T12:00:00Z INFO controller.loop: it happened"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("web", "web"),
        (7, "7"),
        (None, "None"),
        ("two words", '"two words"'),
        ('a "quoted" word', r'"a \"quoted\" word"'),
        ('quo"ted', r'"quo\"ted"'),
        ("first\nsecond", r'"first\nsecond"'),
        ("\x1b[31mred", r'"\u001b[31mred"'),
        ("größe", '"gr\\u00f6\\u00dfe"'),
        ("", ""),
    ],
)
def test_a_bound_field_is_shown_so_that_it_can_be_read_back(value: object, shown: str) -> None:
    assert line(cco_instance=value) == f"2026-01-01T12:00:00Z INFO controller.loop: it happened instance={shown}"
    if shown.startswith('"'):
        assert json.loads(shown) == value


def test_fields_come_in_their_order_and_others_are_not_shown() -> None:
    assert line(cco_b=1, other=2, cco_a=3).endswith("it happened b=1 a=3")


def test_a_message_is_one_line() -> None:
    assert line("first\nsecond", cco_x=1).endswith(r"first\nsecond x=1")


def test_a_traceback_follows_its_line() -> None:
    error = ZeroDivisionError("oops")
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "pass failed", (), (type(error), error, None))
    first, *rest = FieldFormatter().format(record).splitlines()
    assert first.endswith("pass failed")
    assert rest[-1] == "ZeroDivisionError: oops"


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """Leave the loggers as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level
    for name in ("urllib3", "docker", "git", "httpx", "httpcore", "alembic", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.parametrize(("level", "lines"), [("DEBUG", 2), ("INFO", 1), ("WARNING", 0)])
def test_an_entry_point_logs_to_stderr_from_a_level_on(
    level: str, lines: int, root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(level)
    logging.getLogger("controller.x").debug("a detail")
    logging.getLogger("controller.x").info("the world changed", extra={"cco_instance": "web"})
    logging.getLogger("urllib3.connectionpool").debug("somebody else's detail")
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == lines
    assert [type(each) for each in root_logger.handlers] == [logging.StreamHandler, RecentLines]


def test_the_newest_lines_are_kept_and_long_ones_cut(root_logger: logging.Logger) -> None:
    assert root_logger.name == "root"
    configure_logging("INFO")
    logging.getLogger("controller.x").info("the world changed", extra={"cco_instance": "web"})
    logging.getLogger("controller.x").info("x" * 100_000)
    first, second = recent_lines().splitlines()[-2:]
    assert first.endswith("INFO controller.x: the world changed instance=web")
    assert second.endswith("INFO controller.x: ...")
    for number in range(3000):
        logging.getLogger("controller.x").info("number %d", number)
    lines = recent_lines().splitlines()
    assert len(lines) == 2000
    assert lines[-1].endswith("number 2999")
