"""The processes of a rolling upgrade: the stores, and the workers of each stage, of the earlier code or of this one.

Owns: starting, replacing and restarting them. Does not own: in which order (rolling), what users do (rolling_story).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import Broken
from pipeline.local import process, stack
from pipeline.stages import SINGLE, STAGES
from tests.fixtures.patience import PATIENCE_S
from tests.fixtures.running_workers import Running
from tests.upgrade.record import ROOT, check_out

EACH = 2  # workers of a stage
MOST_ENDS = 4  # of a new worker, until it counts as refused


def environment(source: Path) -> dict[str, str]:
    """That of a process which runs the code in a folder."""
    return os.environ | {"PYTHONPATH": str(source), "PYTHONSAFEPATH": "1"}


class Services(stack.Stack):
    """Kafka, ClickHouse, Redis, the topics and the API of a checkout. `start_workers` starts the workers."""

    def __init__(self, folder: Path, source: Path, start_workers: Callable[[], None]) -> None:
        words = ["env", f"PYTHONPATH={source}", "PYTHONSAFEPATH=1", *stack.own_command("api")]
        ports = dict.fromkeys(stack.DEFAULT_PORTS, 0)
        super().__init__(folder, say=lambda line: None, command=lambda _: words, wanted_ports=ports)
        self._source, self._start_workers = source, start_workers

    def _choose(self) -> None:
        super()._choose()
        self.workers = []

    def _make_topics(self) -> None:
        apply_topics(self, self._source)
        self._start_workers()


def apply_topics(services: stack.Stack, source: Path) -> None:
    """Raises CalledProcessError if the code in the folder does not accept the topics."""
    words = [sys.executable, "-m", "pipeline.cli", "topics", "apply"]
    config = {"TALLYMARK_CONFIG": str(services.config)}
    subprocess.run(words, env=environment(source) | config, check=True, capture_output=True)


class Fleet:
    """The workers of every stage, each of the old code or the new, and the API of the new."""

    def __init__(self, folder: Path, commit: str) -> None:
        self.old = check_out(commit, folder / "old")
        self.services = Services(folder / "data", self.old, self._start)
        self.workers: dict[str, list[Running]] = {stage: [] for stage in STAGES}
        self.restarts = 0

    def __enter__(self) -> Fleet:
        self.services.start()
        return self

    def __exit__(self, *_: object) -> None:
        for workers in self.workers.values():
            for worker in workers:
                if worker.process is not None:
                    process.kill(worker.process)
        self.services.stop()

    def _start(self) -> None:
        for stage in STAGES:
            self.workers[stage] = [self._worker(stage, self.old).start() for _ in range(self.number(stage))]
        for workers in self.workers.values():
            for worker in workers:
                if error := self._bring_up(worker):
                    raise Broken(f"{worker.stage} does not start: {error}")

    def _bring_up(self, worker: Running) -> str:
        """Returns when it is ready, or after MOST_ENDS its error. It starts again when it ends, as all others do."""
        ends, deadline = 0, time.monotonic() + PATIENCE_S
        while True:
            assert worker.process is not None
            assert time.monotonic() < deadline, process.last_lines(worker.log, 20)
            if worker.process.poll() is not None:
                ends += 1
                if ends == MOST_ENDS:
                    return process.last_error(worker.log)
                worker.start()
            elif worker.is_ready():
                return ""
            self.tend(worker)
            time.sleep(0.1)

    def tend(self, left_out: Running | None = None) -> None:
        """Starts workers again that have ended, as a supervisor does."""
        for workers in self.workers.values():
            for worker in workers:
                if (
                    worker is not left_out
                    and worker.process is not None
                    and worker.process.poll() is not None
                ):
                    self.restarts += 1
                    worker.start()

    @staticmethod
    def number(stage: str) -> int:
        """How many workers it has: a second one of `control` and `numbering` would have nothing to do."""
        return 1 if stage in SINGLE else EACH

    def _worker(self, stage: str, source: Path, **more: object) -> Running:
        settings, config = self.services.settings, self.services.config
        more |= {"redis": settings.redis, "session_timeout_s": 5}
        secret = (self.services.folder / "secrets.key").read_text().strip()
        return Running(settings, stage, source, config=config, secrets_key=secret, **more)

    def replace(self, stage: str, source: Path) -> str:
        """Workers of this code take the place of those that run. Returns an error if one refuses; the others stay."""
        for _ in range(self.number(stage)):
            new = self._worker(stage, source).start()
            if error := self._bring_up(new):
                return error
            old = self.workers[stage].pop(0)
            assert old.process is not None
            process.stop(old.process, 30)
            self.workers[stage].append(new)
        return ""

    def new_api(self) -> str:
        """The address of an API of this code, beside the old one."""
        secret = (self.services.folder / "portal.secret").read_text().strip()
        port = process.free_port()
        api = self._worker("api", ROOT, api_port=port, portal_secret=secret)
        self.workers["api"] = [api.start()]
        return f"http://127.0.0.1:{port}"


def require_code(source: Path) -> None:
    """Raises Broken unless a process in this environment runs the code of the folder."""
    words = [sys.executable, "-c", "import pipeline; print(pipeline.__file__)"]
    found = subprocess.run(words, env=environment(source), check=True, capture_output=True, text=True).stdout
    if not found.startswith(f"{source}/"):
        raise Broken(f"the code that runs is {found}, not that of {source}")
