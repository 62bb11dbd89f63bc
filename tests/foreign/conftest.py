"""The JavaScript client, installed once for all tests of a run."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.fixtures.absent import absent
from tests.foreign.rig import Absent, install_js


@pytest.fixture(scope="session")
def js_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with @openmeter/sdk and our programs; all workers of xdist share one."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / "openmeter-sdk", shared / "openmeter-sdk.installed"
    with (shared / "openmeter-sdk.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            try:
                install_js(folder)
            except Absent as error:
                absent(str(error))
                raise
            done.touch()
    return folder
