"""Table and overlay: atomic writes with a position, own writes first, nothing lost on the way back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.engine import table as table_module
from pipeline.engine.table import POSITION, Damaged, Overlay, Restored, Table
from pipeline.errors import Broken, Unavailable

AT_7 = Restored("topic-id", 7)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "state")


def test_a_new_table_has_no_position(table: Table) -> None:
    assert table.restored() is None


def test_write_puts_deletes_and_moves_the_position(table: Table) -> None:
    table.write([(b"a", b"1"), (b"b", b"2")], Restored("topic-id", 3))
    table.write([(b"a", None), (b"c", b"3")], AT_7)
    assert dict(table.items()) == {b"b": b"2", b"c": b"3"}
    assert table.restored() == AT_7


def test_state_and_position_survive_closing(tmp_path: Path) -> None:
    first = Table(tmp_path / "state")
    first.write([(b"a", b"1")], AT_7)
    first.close()
    second = Table(tmp_path / "state")
    assert second.get_many([b"a", b"b"]) == [b"1", None]
    assert second.restored() == AT_7


def test_a_scan_is_in_order_and_never_shows_the_position(table: Table) -> None:
    table.write([(b"c", b"3"), (b"a", b"1"), (b"b", b"2")], AT_7)
    assert table.scan(b"b", 10) == [(b"b", b"2"), (b"c", b"3")]
    assert table.scan(b"", 2) == [(b"a", b"1"), (b"b", b"2")]
    assert POSITION not in dict(table.scan(b"", 10))


def test_a_damaged_database_is_broken(tmp_path: Path) -> None:
    table = Table(tmp_path / "state")
    table.write([(b"a", b"1")], AT_7)
    table.close()
    (tmp_path / "state" / "CURRENT").write_bytes(b"not a manifest\n")
    with pytest.raises(Broken, match="is damaged: Corruption"):
        Table(tmp_path / "state")


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("pattern", "spoil"),
    [
        ("*.sst", cut),
        ("*.sst", Path.unlink),
        ("MANIFEST-*", cut),
        ("MANIFEST-*", flipped),
        ("MANIFEST-*", Path.unlink),
        ("CURRENT", flipped),
        ("CURRENT", Path.unlink),
    ],
)
def test_each_damaged_file_is_named(tmp_path: Path, pattern: str, spoil: Callable[[Path], None]) -> None:
    table = Table(tmp_path / "state")
    table.write([(b"%08d" % number, b"x" * 20) for number in range(1000)], AT_7)
    table.close()
    Table(tmp_path / "state").close()  # brings the log into a table file
    spoil(next((tmp_path / "state").glob(pattern)))
    with pytest.raises(Damaged, match=r"^the state in .* is damaged: (Corruption|IO error)[^\n]*$"):
        Table(tmp_path / "state")


def written_not_closed(tmp_path: Path) -> Path:
    """The files of a process that was killed; its log holds fifty writes. Gives the log."""
    table = Table(tmp_path / "running")
    for number in range(50):
        table.write([(b"%08d" % number, b"x" * 200)], Restored("topic-id", number))
    shutil.copytree(tmp_path / "running", tmp_path / "killed")
    table.close()
    return max((tmp_path / "killed").glob("*.log"), key=lambda log: log.stat().st_size)


def test_a_wrong_byte_in_the_log_is_damage(tmp_path: Path) -> None:
    flipped(written_not_closed(tmp_path))
    with pytest.raises(Damaged, match="Corruption: checksum mismatch"):
        Table(tmp_path / "killed")


def test_a_log_that_a_crash_has_cut_is_read_up_to_the_cut(tmp_path: Path) -> None:
    cut(written_not_closed(tmp_path))
    table = Table(tmp_path / "killed")
    at = table.restored()
    assert at is not None and 0 < at.next_offset < 49
    assert len(dict(table.items())) == at.next_offset + 1


def test_a_disk_that_does_not_work_is_no_damage(tmp_path: Path) -> None:
    """The files stay: only what is damaged may be removed."""
    error = Exception("IO error: No space left on device: While appending to file: 000012.log")
    found = table_module.opening_error(tmp_path, error)
    assert isinstance(found, Unavailable) and "No space left on device" in str(found)


def flip(path: Path) -> None:
    """Turns a bit in the middle of the first data block of every table file."""
    for file in path.glob("*.sst"):
        content = bytearray(file.read_bytes())
        content[20] ^= 1
        file.write_bytes(content)


def damaged(path: Path) -> Table:
    """A table whose file has a wrong bit; opening it shows nothing yet."""
    table = Table(path)
    table.write([(b"%08d" % number, b"x" * 20) for number in range(1000)], AT_7)
    table.close()
    Table(path).close()  # brings the log into a table file
    flip(path)
    return Table(path)


def test_damage_found_while_reading_is_remembered(tmp_path: Path) -> None:
    table = damaged(tmp_path / "state")
    with pytest.raises(Damaged, match="is damaged"):
        table.get_many([b"00000000"])
    table.close()
    with pytest.raises(Damaged, match="is marked as damaged"):
        Table(tmp_path / "state")


def test_damage_is_no_end_of_a_scan(tmp_path: Path) -> None:
    with pytest.raises(Damaged):
        damaged(tmp_path / "state").scan(b"", 2000)


keys = st.sampled_from([b"a", b"b", b"c", b"d"])
steps = st.lists(st.tuples(keys, st.one_of(st.none(), st.binary(min_size=1, max_size=3))), max_size=20)


@given(committed=st.dictionaries(keys, st.binary(min_size=1, max_size=3)), changes=steps)
def test_an_overlay_reads_like_a_dict_over_the_table(
    tmp_path_factory: pytest.TempPathFactory,
    committed: dict[bytes, bytes],
    changes: list[tuple[bytes, bytes | None]],
) -> None:
    table = Table(tmp_path_factory.mktemp("table") / "state")
    table.write(committed.items(), AT_7)
    overlay, model = Overlay(table), dict(committed)
    for key, value in changes:
        if value is None:
            overlay.delete(key)
            model.pop(key, None)
        else:
            overlay.put(key, value)
            model[key] = value
        asked = [b"a", b"b", b"c", b"d", b"e"]
        assert overlay.get_many(asked) == [model.get(one) for one in asked]
    assert dict(table.items()) == committed  # untouched until the commit
    table.write(overlay.changes.items(), AT_7)
    assert dict(table.items()) == model
    table.close()
