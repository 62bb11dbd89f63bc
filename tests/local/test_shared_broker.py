"""The broker that tests share: one for all workers of xdist, and gone when they are, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
PLUGINS = 'pytest_plugins = ["tests.fixtures.broker", "tests.fixtures.worker_groups"]\n'
NOTES = """\
import os, time
from pathlib import Path
def test_it(kafka, request):
    part = Path({folder!r}) / (request.node.path.stem + ".part")
    part.write_text(f"{{os.getpid()}} {{kafka.pid}}")
    part.rename(part.with_suffix(".pids"))
    deadline = time.monotonic() + {stays_s}
    while time.monotonic() < deadline:
        time.sleep(0.01)
"""


def start(folder: Path, stays_s: int) -> subprocess.Popen[bytes]:
    """pytest with two workers on two files, whose tests note the pids of their worker and of their broker."""
    (folder / "conftest.py").write_text(PLUGINS)
    for name in ("test_one", "test_two"):
        (folder / f"{name}.py").write_text(NOTES.format(folder=str(folder), stays_s=stays_s))
    argv = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            [*argv, f"--basetemp={folder / 'temp'}", str(folder)],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=output,
        )


def wait_until(condition: Callable[[], bool], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, (folder / "output").read_text()
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def pids(folder: Path, name: str) -> tuple[int, int]:
    """Of the worker, and of the broker that its test had."""
    noted = folder / f"{name}.pids"
    wait_until(noted.exists, folder)
    worker, broker = map(int, noted.read_text().split())
    return worker, broker


def test_two_workers_have_one_broker(tmp_path: Path, kafka_jars: None) -> None:
    with start(tmp_path, 0) as running:
        assert running.wait(PATIENCE_S) == 0, (tmp_path / "output").read_text()
    one, two = pids(tmp_path, "test_one"), pids(tmp_path, "test_two")
    assert one == two
    assert is_gone(one[1])


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
@pytest.mark.parametrize("end", ["ctrl-c", "kill -9 of the worker"])
def test_nothing_is_left_of_it(tmp_path: Path, kafka_jars: None, end: str) -> None:
    with start(tmp_path, 60) as running:
        worker, broker = pids(tmp_path, "test_one")
        assert not is_gone(broker)
        if end == "ctrl-c":
            running.send_signal(signal.SIGINT)
        else:
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: is_gone(broker), tmp_path)
        running.terminate()
