"""The file of an import: every line is in one batch, whatever ends the command, and the keys repeat."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import import_file
from pipeline.cli.import_file import BATCH_BYTES, ENDING, KEY_HOLDS_S, ImportFile
from pipeline.errors import Rejected


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new.ndjson"


def answered(found: ImportFile, batches: int) -> list[tuple[str, list[tuple[int, object]]]]:
    """Key and items of so many batches, each noted as done."""
    seen = []
    for batch in found.batches():
        if len(seen) == batches:
            break
        seen.append((found.key_of(batch), batch.items))
        found.done(msgspec.structs.replace(found.progress, offset=batch.next_offset, lines=batch.next_lines))
    return seen


@given(lines=st.integers(0, 2500), first=st.integers(0, 4))
def test_what_follows_a_stop_is_what_was_left(
    tmp_path_factory: pytest.TempPathFactory, lines: int, first: int
) -> None:
    path = tmp_path_factory.mktemp("import") / "new.ndjson"
    path.write_text("".join(f'{{"n": {number}}}\n' for number in range(1, lines + 1)))
    whole = answered(ImportFile(path), 99)
    assert [item for _, items in whole for item in items] == [(n, {"n": n}) for n in range(1, lines + 1)]
    path.with_name(path.name + ENDING).unlink(missing_ok=True)
    assert answered(ImportFile(path), first) + answered(ImportFile(path), 99) == whole


def test_a_batch_that_was_not_answered_is_sent_again_under_its_key(path: Path) -> None:
    path.write_text('{"a": 1}\n')
    first, second = ImportFile(path), ImportFile(path)
    [before], [after] = list(first.batches()), list(second.batches())
    assert (first.key_of(before), before) == (second.key_of(after), after)


def test_lines_that_are_no_json_are_named_and_blank_ones_skipped(path: Path) -> None:
    path.write_text('{"a": 1}\n\n{"a"\n{"a": 2}')
    [batch] = ImportFile(path).batches()
    assert batch.items == [(1, {"a": 1}), (4, {"a": 2})]
    assert [one.line for one in batch.bad] == [3]
    assert (batch.next_offset, batch.next_lines) == (path.stat().st_size, 4)


def test_a_batch_fits_into_a_request(path: Path) -> None:
    line = json.dumps({"customer": {"key": "x" * 5_000}}) + "\n"
    path.write_text(line * 400)
    sizes = [len(items) * len(line) for _, items in answered(ImportFile(path), 99)]
    assert sum(sizes) == len(line) * 400
    assert max(sizes) <= BATCH_BYTES


@pytest.mark.parametrize(
    "line",
    [
        '{"n": 1.000000000000000001}',
        '{"n": 12345678901234567890123}',
        "[" * 64 + "]" * 64,
        f'"{"x" * BATCH_BYTES}"',
    ],
    ids=lambda line: line[:12],
)
def test_a_line_that_the_api_refuses_with_its_request_stops_no_other(path: Path, line: str) -> None:
    path.write_text(f'{{"a": 1}}\n{line}\n{{"a": 2}}\n')
    batches = list(ImportFile(path).batches())
    assert [item for batch in batches for item in batch.items] == [(1, {"a": 1}), (3, {"a": 2})]
    assert [one.line for batch in batches for one in batch.bad] == [2]


def test_a_batch_whose_key_holds_no_more_is_not_sent_again(path: Path) -> None:
    path.write_text('{"a": 1}\n')
    found = ImportFile(path)
    [batch] = found.batches()
    found.begin(batch, 1_000.0)
    again = ImportFile(path)
    again.begin(batch, 1_000.0 + KEY_HOLDS_S)
    with pytest.raises(Rejected, match=r"Lines 1 to 1 of .* were sent more than 23 hours ago"):
        again.begin(batch, 1_001.0 + KEY_HOLDS_S)


def test_a_changed_file_is_refused_and_nothing_is_lost(path: Path) -> None:
    path.write_text('{"a": 1}\n')
    answered(ImportFile(path), 1)
    path.write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(Rejected, match="has changed since its first 1 lines were imported"):
        ImportFile(path)


def test_a_broken_progress_is_named(path: Path) -> None:
    path.write_text("")
    path.with_name(path.name + ENDING).write_text("{")
    with pytest.raises(Rejected, match=rf"new.ndjson{ENDING} holds no progress of an import"):
        ImportFile(path)


def test_a_missing_file_is_one_sentence(path: Path) -> None:
    with pytest.raises(Rejected, match=r"new\.ndjson cannot be read: No such file or directory"):
        ImportFile(path)


def test_the_limits_are_those_of_the_api() -> None:
    from pipeline.api.http.body import MAX_BODY_BYTES
    from pipeline.api.quota.imports import MAX_ITEMS
    from pipeline.core.definitions.idempotency import KEPT_MS

    assert import_file.BATCH_ITEMS == MAX_ITEMS
    assert BATCH_BYTES < MAX_BODY_BYTES
    assert KEY_HOLDS_S * 1000 < KEPT_MS
