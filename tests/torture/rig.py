"""The local stack as a process that takes orders: how many workers, which store is to die and for how long.

Owns: the process (`main`) and its remote control (`Rig`). Linux only (/proc).
Orders are lines of JSON on standard input; each is answered by a line `done N` in the log.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.local import process, stack
from pipeline.local.clickhouse import ChDB
from pipeline.local.supervisor import Service
from pipeline.stages import STAGES
from tests.fixtures.patience import PATIENCE_S
from tests.flow.stack_main import SETTINGS
from tests.flow.stack_process import ROOT, StackProcess, _children

SESSION_TIMEOUT_S = 5
WEBHOOK_TIMEOUT_S = 2.0
WEBHOOK_SCHEDULE_S = "0,1,1,1,2,2,2,3,3,3,3,3,3,3,3,3"


class Rig(StackProcess):
    """A running stack that can be hurt. clickhouse_ports: where the sink finds ClickHouse (a proxy), and where it is.

    programs: stage -> module that is run in place of `pipeline.cli` (unsafe.py).
    """

    def __init__(
        self,
        folder: Path,
        workers: Mapping[str, int],
        clickhouse_ports: tuple[int, int],
        programs: Mapping[str, list[str]],
    ) -> None:
        super().__init__(folder)
        self.crash = self.folder / "crash"
        self._plan = {
            "workers": dict(workers), "clickhouse_ports": clickhouse_ports, "crash": str(self.crash),
            "programs": dict(programs),
        }  # fmt: skip
        self._orders = 0

    def _program(self) -> list[str]:
        for stage in STAGES:
            (self.crash / stage).mkdir(parents=True, exist_ok=True)
        return [sys.executable, "-m", "tests.torture.rig", str(self.folder), json.dumps(self._plan)]

    def order(self, do: str, **how: Any) -> None:
        """Has it done; returns when it was. Raises TimeoutError."""
        assert self._process is not None and self._process.stdin is not None
        self._orders += 1
        self._process.stdin.write(json.dumps({"do": do, "number": self._orders, **how}).encode() + b"\n")
        self._process.stdin.flush()
        deadline = time.monotonic() + PATIENCE_S
        while f"done {self._orders}\n".encode() not in self.log.read_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(f"{do} {how} was not done:\n{self.log.read_text()[-1000:]}")
            time.sleep(0.02)

    def children(self) -> list[tuple[int, list[str]]]:
        """pid and command line of each process of the stack."""
        assert self._process is not None
        return list(_children(self._process.pid))

    def workers(self, stage: str) -> list[int]:
        return sorted(pid for pid, words in self.children() if words[-2:] == ["worker", stage])

    def arm(self, stage: str, point: str, how: str = "kill") -> None:
        """The next worker of the stage that reaches the point stops itself."""
        path = self.crash / stage / point
        path.with_name("new").write_text(how)
        os.rename(path.with_name("new"), path)

    def hits(self) -> list[tuple[str, str, str, int]]:
        """(stage, point, how, pid) of every armed point that was reached."""
        found = []
        for path in sorted(self.crash.glob("*/hits")):
            for line in path.read_text().splitlines():
                point, how, pid = line.split()
                found.append((path.parent.name, point, how, int(pid)))
        return found

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def state_folder(self, pid: int) -> Path | None:
        """The folder that a worker holds, by the lock file that it has open."""
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                target = os.readlink(link)
                if target.endswith("/lock") and f"{self.folder}/state/" in target:
                    return Path(target).parent
        except OSError:
            return None
        return None


class _Stack(stack.Stack):
    """The stack with orders."""

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        ports = dict.fromkeys(stack.DEFAULT_PORTS, 0) | {"clickhouse": plan["clickhouse_ports"][1]}
        super().__init__(folder, 1, command=self._words, wanted_ports=ports)
        self._plan = plan
        self._next = dict.fromkeys(STAGES, 1)

    def _choose(self) -> None:
        """Metrics on any free ports: another stack may be starting at this moment."""
        super()._choose()
        self.workers = [replace(worker, metrics_port=process.free_port()) for worker in self.workers]

    def _words(self, stage: str) -> list[str]:
        words = stack.own_command(stage)
        if stage in self._plan["programs"]:
            words = [sys.executable, "-m", *self._plan["programs"][stage], "worker", stage]
        port = self._plan["clickhouse_ports"][0]
        variables = [f"CRASH_DIR={self._plan['crash']}/{stage}", f"PYTHONPATH={ROOT}"]
        if stage == "sink" and port:
            url = ChDB(self.folder, port).url
            variables.append(f"TALLYMARK_CLICKHOUSE={url}")
        return ["env", *variables, *words] if stage != "api" else words

    def services(self, stage: str) -> list[Service]:
        names = [service for service in self._supervisor.services if service.name.startswith(f"{stage}-")]
        return [service for service in names if service.name.rpartition("-")[2].isdigit()]

    def obey(self, order: dict[str, Any]) -> None:
        getattr(self, "_do_" + order["do"])(order)
        self.say(f"done {order['number']}")

    def _do_scale(self, order: dict[str, Any]) -> None:
        """Workers of a stage; those that go are killed or asked to go, in turn."""
        stage, wanted = order["stage"], order["workers"]
        running = self.services(stage)
        for number in range(wanted - len(running)):
            name = f"{stage}-{self._next[stage] + number}"
            self._supervisor.start(
                [self._worker_service(stack.StageProcess(name, stage, process.free_port()))]
            )
        self._next[stage] += max(0, wanted - len(running))
        for place, service in enumerate(running[wanted:]):
            self._supervisor.services.remove(service)
            if service.process is not None:
                process.stop(service.process, 6.0 if place % 2 == 0 else 0.0)

    def _do_kill(self, order: dict[str, Any]) -> None:
        """kill -9 of one service, which stays away for a while."""
        (service,) = [one for one in self._supervisor.services if one.name == order["service"]]
        if service.process is not None:
            process.kill(service.process)
            service.process = None
        service._restart_at_s = time.monotonic() + order["for_s"]

    def _do_stop_stages(self, order: dict[str, Any]) -> None:
        """Ends every worker in good order; stores and API stay."""
        for stage in STAGES:
            self._do_scale({"stage": stage, "workers": 0})


def main() -> None:
    """Starts the stack, obeys until the input ends or a signal comes, stops it."""
    folder, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
    os.environ.update(SETTINGS)
    os.environ["TALLYMARK_SESSION_TIMEOUT_S"] = str(SESSION_TIMEOUT_S)
    os.environ["TALLYMARK_WEBHOOK_TIMEOUT_S"] = str(WEBHOOK_TIMEOUT_S)
    os.environ["TALLYMARK_WEBHOOK_SCHEDULE_S"] = WEBHOOK_SCHEDULE_S
    made = _Stack(folder, plan)

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    try:
        made.start()
        for stage, workers in plan["workers"].items():
            made._do_scale({"stage": stage, "workers": workers})
        made._supervisor.wait_until_up([one.name for one in made._supervisor.services], 120, may_restart=True)
        made.say("tallymark is up")
        while True:
            made.tend()
            if select.select([0], [], [], 0.05)[0]:
                line = sys.stdin.buffer.readline()
                if not line:
                    break
                made.obey(json.loads(line))
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        made.stop()


if __name__ == "__main__":
    main()
