"""The folder of a worker: one process at a time, and what it does for the process before it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.engine import membership
from pipeline.errors import Broken
from pipeline.local.process import HOST, free_port
from pipeline.settings import Settings
from pipeline.worker import folder as worker_folder
from pipeline.worker.folder import WorkerFolder, claim, end_predecessor


def test_each_worker_has_the_first_folder_that_is_free(tmp_path: Path) -> None:
    first, second = claim(tmp_path, "ingest"), claim(tmp_path, "ingest")
    assert (first.path.name, second.path.name) == ("ingest-0", "ingest-1")
    first.release()
    assert claim(tmp_path, "ingest").path == first.path
    assert claim(tmp_path, "dedupe").path.name == "dedupe-0"


def test_the_folder_of_a_killed_process_is_free(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        claim(tmp_path, "ingest")
        os._exit(1)  # releases nothing itself
    os.waitpid(child, 0)
    assert claim(tmp_path, "ingest").path.name == "ingest-0"


def test_when_all_are_in_use_a_sentence_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_folder, "MOST_WORKERS", 1)
    kept = claim(tmp_path, "ingest")
    with pytest.raises(Broken, match=f"1 workers of ingest use folders in {tmp_path}"):
        claim(tmp_path, "ingest")
    kept.release()


@pytest.fixture
def folder(tmp_path: Path) -> WorkerFolder:
    return claim(tmp_path, "ingest")


def test_a_folder_that_is_new_has_no_predecessor(folder: WorkerFolder) -> None:
    assert end_predecessor(Settings.model_construct(), "ingest", folder) is None


def test_a_start_does_not_wait_for_the_end_of_its_predecessor(
    folder: WorkerFolder, caplog: pytest.LogCaptureFixture
) -> None:
    membership.note(folder.path, "ingest-1-abc")
    thread = end_predecessor(Settings.model_construct(kafka=f"{HOST}:{free_port()}"), "ingest", folder)
    assert thread is not None
    assert thread.daemon, "an exit of the process does not wait either"
    thread.join()
    assert "cannot remove the former worker from tallymark-ingest" in caplog.text
