"""An outage does not fill a worker's log with the same line of a library, and what Tallymark logs is kept."""

from __future__ import annotations

import logging

from pipeline.worker.log_limit import LINES, MOST_KINDS, PERIOD_S, LogLimit


def passed(
    limit: LogLimit,
    text: str,
    *arguments: object,
    at_s: float = 0.0,
    logger: str = "aiokafka.conn",
    level: int = logging.ERROR,
) -> str | None:
    """The line as it is logged; None: it is left out."""
    record = logging.LogRecord(logger, level, "", 0, text, arguments, None)
    record.created = at_s
    return record.getMessage() if limit.filter(record) else None


def test_ten_lines_a_second_become_a_few_a_minute_and_their_number() -> None:
    limit = LogLimit(["aiokafka"])
    lines = [
        passed(limit, "cannot connect to %s: %s", 1, "refused", at_s=place / 10) for place in range(1200)
    ]
    found = [line for line in lines if line is not None]
    assert found[:LINES] == ["cannot connect to 1: refused"] * LINES
    assert found[LINES] == "cannot connect to 1: refused (595 more lines like it were left out)"
    assert found[LINES + 1 :] == ["cannot connect to 1: refused"] * (LINES - 1)


def test_another_text_another_level_and_another_logger_are_other_kinds() -> None:
    limit = LogLimit(["aiokafka"])
    assert [passed(limit, "a") for _ in range(LINES + 1)][-1] is None
    assert passed(limit, "b") == "b"
    assert passed(limit, "a", level=logging.WARNING) == "a"
    assert passed(limit, "a", logger="aiokafka.consumer") == "a"


def test_what_differs_only_in_its_arguments_is_one_kind() -> None:
    """Offsets and times in a text would make each line another one."""
    limit = LogLimit(["aiokafka"])
    assert [passed(limit, "at %d", place) for place in range(LINES + 2)][LINES:] == [None, None]


def test_each_line_of_tallymark_is_kept() -> None:
    limit = LogLimit(["aiokafka"])
    for name in ("tallymark.engine", "aiokafkaesque", "root"):
        assert [passed(limit, "a", logger=name) for _ in range(100)] == ["a"] * 100


def test_a_line_without_arguments_may_have_a_percent_sign() -> None:
    limit = LogLimit(["aiokafka"])
    assert [passed(limit, "100 % and %s") for _ in range(LINES)] == ["100 % and %s"] * LINES
    assert passed(limit, "100 % and %s") is None
    later = passed(limit, "100 % and %s", at_s=PERIOD_S)
    assert later == "100 % and %s (1 more lines like it were left out)"


def test_children_of_a_library_are_limited_at_the_handler() -> None:
    kept: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record.getMessage())

    handler, logger = Kept(), logging.getLogger("limited_library.child")
    handler.addFilter(LogLimit(["limited_library"]))
    logger.addHandler(handler)
    try:
        for _ in range(LINES * 3):
            logger.error("gone")
    finally:
        logger.removeHandler(handler)
    assert kept == ["gone"] * LINES


def test_the_memory_of_kinds_is_limited() -> None:
    limit = LogLimit(["aiokafka"])
    for place in range(3 * MOST_KINDS):
        assert passed(limit, f"text {place}")
        assert len(limit._periods) <= MOST_KINDS
