"""A local stack as a process of its own, as `tallymark dev` runs it, but on free ports; and ways to hurt it.

Owns: starting and stopping it, finding the worker processes, running commands against it. Linux only (/proc).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.settings import CONFIG_VARIABLE, Settings
from tests.fixtures.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
STAGES = ("ingest", "dedupe", "aggregate", "sink")
# What events and meters need. A stack of these starts in half of the time.
COUNTING = (*STAGES, "control", "backfill", "attribute")


class StackProcess:
    """The stack on `folder`, with `workers` of each of `stages`, or of all. Use as a context manager."""

    def __init__(self, folder: Path, workers: int = 1, stages: Sequence[str] = ()) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "dev.log"
        self._workers = workers
        self._stages = stages
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """The settings that lead to the running stack."""
        import tomllib

        values = tomllib.loads((self.folder / "tallymark.toml").read_text())
        return Settings.model_construct(**values)

    def __enter__(self) -> Self:
        """Returns when the stack says that it is up. Raises RuntimeError with the end of its log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._program(), cwd=ROOT, stdin=subprocess.PIPE, stdout=output, stderr=output
            )
        deadline = time.monotonic() + PATIENCE_S
        while b"tallymark is up" not in self.log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                raise RuntimeError("the stack did not start:\n" + self.log.read_text()[-2000:])
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def _program(self) -> list[str]:
        """The command line of the process that keeps the stack."""
        return [
            sys.executable, "-m", "tests.flow.stack_main", str(self.folder), str(self._workers), *self._stages
        ]  # fmt: skip

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs `tallymark ...` to its end; the caller judges the exit code."""
        return subprocess.run(
            self._argv(words), env=self._environment(), capture_output=True, text=True, check=False
        )

    def lines(self, *words: str) -> Iterator[str]:
        """The output of `tallymark ...` line by line. Raises RuntimeError when it fails."""
        errors = self.folder / "command.log"
        with errors.open("w") as stderr:
            running = subprocess.Popen(
                self._argv(words), env=self._environment(), stdout=subprocess.PIPE, stderr=stderr, text=True
            )
            assert running.stdout is not None
            yield from running.stdout
            if running.wait() != 0:
                raise RuntimeError(f"tallymark {' '.join(words)}: {errors.read_text()}")

    def _argv(self, words: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "pipeline.cli", *words]

    def _environment(self) -> dict[str, str]:
        return os.environ | {CONFIG_VARIABLE: str(self.folder / "tallymark.toml"), "PYTHONPATH": str(ROOT)}

    def workers(self, stage: str) -> list[int]:
        """The pids of the running workers of a stage."""
        return [pid for pid, words in self.processes() if words[-2:] == ["worker", stage]]

    def processes(self) -> list[tuple[int, list[str]]]:
        """pid and command line of each process of the stack."""
        assert self._process is not None
        return list(_children(self._process.pid))

    def kill_broker(self) -> int:
        """kill -9 to the broker, which the stack starts again; its pid."""
        assert self._process is not None
        (pid,) = [pid for pid, words in _children(self._process.pid) if "kafka.Kafka" in words]
        os.kill(pid, signal.SIGKILL)
        return pid

    def signal(self, stage: str, number: signal.Signals, place: int = 0) -> int | None:
        """Sends a signal to one worker of the stage; its pid, or None where none runs just now."""
        pids = self.workers(stage)
        if not pids:
            return None
        pid = pids[place % len(pids)]
        os.kill(pid, number)
        return pid


def _children(parent: int) -> Iterator[tuple[int, list[str]]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        if int(fields[1]) == parent and fields[0] != "Z":
            yield int(entry.name), [word for word in words if word]
