"""Starting again with growing pauses, stopping by rank, and force where asking does not help."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.local.supervisor import Service, Supervisor
from tests.fixtures.patience import PATIENCE_S, slowed

FOREVER = "import time; open(READY, 'w').close(); time.sleep(600)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + FOREVER
ON_TERM = (
    "import os, signal, time\n"
    "def end(*_): open(DONE, 'w').write(str(time.monotonic_ns())); os._exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\n"
) + FOREVER


def service(folder: Path, name: str, code: str, rank: int = 0, stop_s: float = 5) -> Service:
    ready = folder / f"{name}.ready"
    text = f"READY = {str(ready)!r}; DONE = {str(folder / (name + '.done'))!r}\n{code}"
    log = folder / f"{name}.log"
    return Service(
        name, lambda: process.spawn([sys.executable, "-c", text], log), log, ready.exists, rank, stop_s
    )


def tend_until(supervisor: Supervisor, condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        supervisor.tend()
        time.sleep(0.01)


def test_a_process_that_keeps_dying_is_started_with_longer_and_longer_pauses(tmp_path: Path) -> None:
    lines: list[str] = []
    supervisor = Supervisor(lines.append)
    supervisor.start([service(tmp_path, "flaky", "import sys; print('oh'); sys.exit(3)")])
    tend_until(supervisor, lambda: len(lines) == 3)
    supervisor.stop()
    log = tmp_path / "flaky.log"
    assert lines == [
        f"flaky exited (exit code 3): oh; restarting it in {pause} s; its log is {log}"
        for pause in ("0.2", "0.4", "0.8")
    ]
    assert log.read_text() == "oh\n" * 3


TRACEBACK = """
import sys
print("earlier: an ERROR of this very process")
try:
    open("/no/such/file")
finally:
    pass
"""


def test_the_last_error_of_a_process_that_ended_is_shown(tmp_path: Path) -> None:
    """Of its own run: what an earlier one wrote is not its reason."""
    (tmp_path / "flaky.log").write_text("CRITICAL of an earlier run\n")
    lines: list[str] = []
    supervisor = Supervisor(lines.append)
    supervisor.start([service(tmp_path, "flaky", TRACEBACK)])
    tend_until(supervisor, lambda: len(lines) == 1)
    supervisor.stop()
    reason = "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'"
    assert lines[0].startswith(f"flaky exited (exit code 1): {reason}; restarting it")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("", ""),
        ("all is well\n\n", "all is well"),
        ("ERROR a stops: no disk\nstopping\nstopped\n", "ERROR a stops: no disk"),
        ("Fatal glibc error\n", "Fatal glibc error"),
        ("[2025-01-01] ERROR Shutdown broker (kafka.log.LogManager)\ndone\n", None),
        ("error: Kafka is down\n", "error: Kafka is down"),
        ("\x1b[?25hERROR stops: no space\n", "ERROR stops: no space"),
    ],
)
def test_lines_that_report_an_error(tmp_path: Path, written: str, shown: str | None) -> None:
    log = tmp_path / "a.log"
    log.write_text(written)
    assert process.last_error(log) == (written.splitlines()[0] if shown is None else shown)
    assert process.last_error(log, len(written)) == ""


def test_a_start_that_fails_is_tried_again(tmp_path: Path) -> None:
    lines: list[str] = []
    supervisor = Supervisor(lines.append)
    good = service(tmp_path, "late", FOREVER)
    tries = iter([good.spawn])

    def spawn() -> process.Process:
        if len(lines) < 2:
            raise Unavailable("The port is taken.")
        return next(tries)()

    late = Service("late", spawn, good.log, good.is_up, 0, 1)
    supervisor.services.append(late)
    tend_until(supervisor, late.is_up)
    supervisor.stop()
    assert [line.split(";")[0] for line in lines] == ["The port is taken."] * 2


def test_lower_ranks_stop_first_and_the_deaf_are_killed(tmp_path: Path) -> None:
    supervisor = Supervisor(print)
    last = service(tmp_path, "broker", ON_TERM, rank=2)
    deaf = service(tmp_path, "deaf", DEAF, rank=1, stop_s=0.5)
    first = service(tmp_path, "stage", ON_TERM, rank=0)
    supervisor.start([last, deaf, first])
    supervisor.wait_until_up(["broker", "deaf", "stage"], PATIENCE_S, may_restart=False)
    began_s = time.monotonic()
    supervisor.stop()
    assert 0.5 <= time.monotonic() - began_s < slowed(5)
    assert deaf.process is not None and deaf.process.returncode == -9
    stopped_at_ns = [int((tmp_path / f"{name}.done").read_text()) for name in ("stage", "broker")]
    assert stopped_at_ns[1] - stopped_at_ns[0] >= 500_000_000


def test_one_that_dies_at_the_start_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(print)
    supervisor.start([service(tmp_path, "broken", "print('no heap'); raise SystemExit(1)")])
    with pytest.raises(Unavailable, match=r"broken exited during its start(.|\n)*no heap"):
        supervisor.wait_until_up(["broken"], PATIENCE_S, may_restart=False)


def test_one_that_never_answers_is_named_with_its_log(tmp_path: Path) -> None:
    supervisor = Supervisor(print)
    supervisor.start([service(tmp_path, "mute", "import time; time.sleep(600)")])
    with pytest.raises(Unavailable, match=r"No response within .* from: mute \(log: .*mute\.log\)"):
        supervisor.wait_until_up(["mute"], 0.2, may_restart=True)
    supervisor.stop()


def test_what_a_process_started_goes_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; c = subprocess.Popen(['sleep', '600']); print(c.pid, flush=True); " + FOREVER
    )
    supervisor = Supervisor(print)
    supervisor.start([service(tmp_path, "parent", code)])
    supervisor.wait_until_up(["parent"], PATIENCE_S, may_restart=False)
    child = int((tmp_path / "parent.log").read_text())
    supervisor.stop()
    deadline = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("yields", [True, False])
def test_a_process_that_yields_has_a_lower_priority_for_all_its_threads(tmp_path: Path, yields: bool) -> None:
    log, mine = tmp_path / "log", os.getpriority(os.PRIO_PROCESS, 0)
    text = "import os, threading; threading.Thread(target=lambda: print(os.getpriority(os.PRIO_PROCESS, 0))).start()"
    process.spawn([sys.executable, "-c", text], log, yields=yields).wait()
    assert int(log.read_text()) == min(19, mine + (process.YIELDING if yields else 0))


def test_a_large_log_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with log.open("wb") as file:
        file.truncate(process.LOG_BYTES + 1)
    process.spawn([sys.executable, "-c", "print('new')"], log).wait()
    assert log.read_text() == "new\n"
    assert (tmp_path / "a.log.1").stat().st_size == process.LOG_BYTES + 1
