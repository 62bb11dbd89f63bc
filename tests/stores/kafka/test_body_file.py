"""The file of bodies: places, its space, a folder that cannot be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import Broken
from pipeline.stores.kafka.body_file import BodyFile, BodyPlace


def test_bytes_are_read_as_they_were_written_also_after_a_rewrite(tmp_path: Path) -> None:
    file = BodyFile(tmp_path / "new" / "folder", dead_bytes=10)
    bodies = [bytes([number]) * number for number in range(1, 30)]
    places = [file.append(body) for body in bodies]
    assert [file.read(place) for place in places] == bodies
    for place in places[10:]:
        file.drop(place)
    assert file.is_mostly_dead
    kept = file.rewritten(places[:10])
    assert not file.is_mostly_dead
    assert [file.read(place) for place in kept] == bodies[:10]
    assert kept[-1].begin + kept[-1].length == sum(map(len, bodies[:10]))
    file.close()


def test_bytes_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    file = BodyFile(tmp_path)
    with pytest.raises(Broken, match="0 of 5 bytes"):
        file.read(BodyPlace(0, 5))
    file.append(b"abc")
    with pytest.raises(Broken, match="1 of 5 bytes at 2"):
        file.read(BodyPlace(2, 5))


def test_without_its_folder_the_file_is_where_temporary_files_are(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    file = BodyFile(tmp_path / "file" / "below")
    assert file.read(file.append(b"abc")) == b"abc"
