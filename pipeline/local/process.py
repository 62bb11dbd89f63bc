"""A child process of the local stack, which cannot outlive its parent: starting and stopping it.

Owns: process groups, the parent-death signal, log files, free ports. Does not own: the list of processes.
On Linux the kernel kills a child when its parent dies, even by kill -9; elsewhere only a clean stop ends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.local.private import FILE_MODE, UMASK

HOST = "127.0.0.1"
LOG_BYTES = 16 * 1024 * 1024  # a log larger than this is rotated at the next start

LOOKED_AT_BYTES = 256 * 1024  # end of a log that is searched for the reason of an exit
LONGEST_LINE = 1_000
# The format of errors in Python's tracebacks, our own log, librdkafka, Java and ClickHouse.
_ERROR = re.compile(r"\b(ERROR|CRITICAL|FATAL|error)\b|\b\w*(Error|Exception)\b|<Error>|<Fatal>")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # terminal control sequences

YIELDING = 5  # steps of `nice`: a third of the CPU time of a process that does not yield

_PR_SET_PDEATHSIG = 1
# Loaded here, not in the forked child, where no lock may be taken.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


Process = subprocess.Popen[bytes]


def spawn(
    argv: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    yields: bool = False,
) -> Process:
    """Start `argv` in its own process group, and append its output to `log`.

    The calling thread must outlive the child: the kernel treats that thread as the parent. Files that the child writes
    are readable by their owner only.

    yields: whether it lets others go first where all cores are busy. It still has all that is free.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_name(log.name + ".1"))
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE), "ab") as output:
        started = subprocess.Popen(
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            start_new_session=True,
            umask=UMASK,
            preexec_fn=_in_child(os.getpid(), yields),  # noqa: PLW1509 - it makes three system calls and nothing else
        )
    if yields:
        # Linux may weigh sessions before processes (sched_autogroup), and it is a session of its own.
        with contextlib.suppress(OSError):
            Path(f"/proc/{started.pid}/autogroup").write_text(str(YIELDING))
    return started


def _in_child(parent: int, yields: bool) -> Callable[[], None] | None:
    """What a child does before its program: it dies with its parent, and takes its priority."""
    if _libc is None and not yields:
        return None
    prctl = None if _libc is None else _libc.prctl

    def in_child() -> None:
        if yields:
            os.nice(YIELDING)
        if prctl is not None:
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the parent died before the call
                os._exit(1)

    return in_child


def stop(process: Process, timeout_s: float) -> None:
    """Terminate the process, wait, then kill its whole group. Returns when it has exited."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout_s)
    kill(process)


def kill(process: Process) -> None:
    """Kill the process and its children. Returns when the process has exited."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class OwnProcess:
    """A process that this object starts, at most one at a time, and ends. `_process` is set by who starts it."""

    _process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running process."""
        return self._process.pid if self._process else None

    @property
    def has_ended(self) -> bool:
        """Whether it does not run: it ended by itself, or was never started."""
        return self._process is None or self._process.poll() is not None

    def stop(self, timeout_s: float = 15.0) -> None:
        """Stop the process gracefully, or by force after `timeout_s`."""
        if self._process is not None:
            stop(self._process, timeout_s)
            self._process = None

    def kill(self) -> None:
        """Kill the process with SIGKILL, like a crash."""
        if self._process is not None:
            kill(self._process)
            self._process = None


def is_free(port: int) -> bool:
    """Whether a server could listen on the port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(*preferred: int) -> int:
    """The first of `preferred` that is free, else any free port of the loopback address; 0 prefers none."""
    for port in preferred:
        if port and is_free(port):
            return port
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def last_lines(log: Path, count: int = 5) -> str:
    """The end of a log, to show when its process fails."""
    try:
        return "\n".join(log.read_text("utf-8", "replace").splitlines()[-count:])
    except FileNotFoundError:
        return ""


def size(log: Path) -> int:
    """The current size of a log; 0 if it does not exist."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0


def last_error(log: Path, since_bytes: int = 0) -> str:
    """The last line of a log that reports an error, else its last line; empty if there is none.

    since_bytes: the offset at which the process began to write.
    """
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(since_bytes, end - LOOKED_AT_BYTES))
            text = _CONTROL.sub("", file.read().decode("utf-8", "replace"))
            lines = [line.strip() for line in text.splitlines()]
    except FileNotFoundError:
        return ""
    written = [line for line in lines if line]
    errors = [line for line in written if _ERROR.search(line)]
    found = [*written[-1:], *errors[-1:]]
    return found[-1][:LONGEST_LINE] if found else ""
