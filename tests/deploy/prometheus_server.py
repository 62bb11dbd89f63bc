"""Debian's Prometheus and Alertmanager as processes of a test.

Owns: starting them on free ports, asking Prometheus. Does not own: their configuration.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pipeline.local.process import HOST, free_port, last_lines
from tests.fixtures.absent import absent

PROMETHEUS, ALERTMANAGER = "prometheus", "prometheus-alertmanager"
START_S = 60.0


class PrometheusServer:
    """A running Prometheus."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._client = httpx.Client(base_url=f"{address}/api/v1", timeout=30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an expression now, as a vector. Raises AssertionError with Prometheus' own error."""
        return self._get("/query", query=expression)["result"]  # type: ignore[no-any-return]

    def query_range(
        self, expression: str, start_s: float, end_s: float, step_s: float
    ) -> list[dict[str, Any]]:
        """The result of an expression over [start_s, end_s], as a matrix."""
        found = self._get("/query_range", query=expression, start=start_s, end=end_s, step=step_s)
        return found["result"]  # type: ignore[no-any-return]

    def targets(self) -> list[dict[str, Any]]:
        """What it scrapes."""
        return self._get("/targets")["activeTargets"]  # type: ignore[no-any-return]

    def _get(self, path: str, **params: Any) -> Any:
        answer = self._client.get(path, params=params).json()
        assert answer["status"] == "success", f"{params}: {answer.get('error')}"
        return answer["data"]


@contextmanager
def prometheus(config: Path, folder: Path) -> Iterator[PrometheusServer]:
    """A Prometheus with this configuration and its data in `folder`."""
    port = free_port()
    words = [
        f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address={HOST}:{port}",
    ]  # fmt: skip
    with _running(PROMETHEUS, words, folder / "prometheus.log", f"http://{HOST}:{port}"):
        yield PrometheusServer(f"http://{HOST}:{port}")


@contextmanager
def alertmanager(config: Path, folder: Path) -> Iterator[str]:
    """An Alertmanager that is alone; its host:port."""
    port = free_port()
    words = [
        f"--config.file={config}", f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={HOST}:{port}", "--cluster.listen-address=",
    ]  # fmt: skip
    with _running(ALERTMANAGER, words, folder / "alertmanager.log", f"http://{HOST}:{port}"):
        yield f"{HOST}:{port}"


@contextmanager
def _running(program: str, words: list[str], log: Path, address: str) -> Iterator[None]:
    if shutil.which(program) is None:
        absent(f"{program} is missing: apt-get install prometheus prometheus-alertmanager")
    with log.open("wb") as output:
        child = subprocess.Popen([program, *words], stdout=output, stderr=output)

    def is_up() -> bool:
        assert child.poll() is None, last_lines(log)
        try:
            return httpx.get(f"{address}/-/ready", timeout=1).is_success
        except httpx.TransportError:
            return False

    try:
        until(is_up, START_S)
        yield
    finally:
        child.kill()
        child.wait()


def until(is_so: Callable[[], object], most_s: float, every_s: float = 0.1) -> None:
    """Waits until it is so. Raises AssertionError after most_s."""
    deadline = time.monotonic() + most_s
    while not is_so():
        assert time.monotonic() < deadline, f"it was not so for {most_s:.0f} s"
        time.sleep(every_s)
