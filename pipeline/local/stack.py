"""`tallymark dev`: Kafka, ClickHouse, Redis, every stage and the API on this machine, each its own process.

Owns: the list of processes, their ports, folders and order, and the settings file for them.
Does not own: keeping a process running (supervisor.py). Ports and data stay the same from run to run.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self

from pipeline import settings as settings_module
from pipeline.errors import Rejected
from pipeline.local import private, process, secret_files
from pipeline.local.clickhouse import ChDB
from pipeline.local.kafka import Kafka
from pipeline.local.redis import Redis, is_available
from pipeline.local.stack_file import last_ports, toml_text
from pipeline.local.stripe_sandbox.process import KEY_FILE, SandboxProcess, key_of
from pipeline.local.supervisor import Say, Service, Supervisor
from pipeline.settings import CONFIG_VARIABLE, LOCAL_KEY_FILE, PREFIX, Settings
from pipeline.stages import ANSWERING, METRICS_FILE, SINGLE, wanted
from pipeline.stores.kafka import topics

STORES = ("kafka", "clickhouse", "redis")
DEFAULT_PORTS = {"kafka": 9092, "clickhouse": 8124, "redis": 6379, "api": 8888, "stripe": 8891}
FIRST_METRICS_PORT = 9101
START_S = 180.0  # a machine that does other things too; on a free one it takes 12 s
TICK_S = 0.1

# Settings of the user that the processes of the stack inherit.
_KEPT = (
    "partitions",
    "event_partitions",
    "session_timeout_s",
    "horizon_s",
    "future_limit_s",
    "max_event_bytes",
    "clickhouse_silence_s",
    "api_turn_s",
    "webhook_schedule_s",
    "webhook_timeout_s",
    "webhook_at_once",
    "webhook_kept_s",
    "webhook_allow_hosts",
    "webhook_allow_http",
    "webhook_ca",
    "stripe_live_events_s",
    "stripe_test_events_s",
    "stripe_grace_s",
    "stripe_address",
    "stripe_timeout_s",
    "public_url",
)
# The port of `tallymark listen`, and the only port of this machine to which webhooks may be sent.
RECEIVER_PORT = 8890
# Folders that only their owner may read; `logs` may contain events.
_FOLDERS = ("clickhouse", "kafka", "redis", "state", "logs")

# Order and grace period in seconds of a stop: stages first, so that no store stops under them; the broker last.
_STAGE, _API, _STORE, _BROKER = (0, 6.0), (1, 2.0), (2, 4.0), (3, 3.0)

CommandLine = Callable[[str], list[str]]


def own_command(name: str) -> list[str]:
    """The command line of a stage or of the API."""
    words = ["api"] if name == "api" else ["worker", name]
    return [sys.executable, "-m", "pipeline.cli", *words]


@dataclass(frozen=True)
class StageProcess:
    """One worker of one stage, and the port of its metrics."""

    name: str
    stage: str
    metrics_port: int

    @property
    def metrics_url(self) -> str:
        """The planned URL of its metrics; if the port is taken at the start, the worker uses another."""
        return f"http://{process.HOST}:{self.metrics_port}/metrics"


class Stack:
    """The local stack, its data under `folder`. It is a context manager; call `tend` often while inside.

    Args:
        folder: Of the data, the logs, the secrets and the settings file.
        workers: Per stage; `control` always has one, since its topic has one partition.
        say: Prints a line for the user.
        command: The command line of a stage or of the API.
        wanted_ports: Preferred ports by name; 0: any free port.
        receiver_port: The port of this machine to which webhooks may be sent, unless the settings allow others.
        recreate_lost: Lost topics to recreate.
        stripe_sandbox: Whether a sandbox of Stripe belongs to the stack; then nothing is sent to Stripe itself.
    """

    def __init__(
        self,
        folder: Path,
        workers: int = 1,
        say: Say | None = None,
        command: CommandLine = own_command,
        wanted_ports: Mapping[str, int] = DEFAULT_PORTS,
        receiver_port: int = RECEIVER_PORT,
        recreate_lost: Sequence[str] = (),
        stripe_sandbox: bool = False,
    ) -> None:
        self.folder = folder.absolute()
        self.say = say or _to_stderr
        self._command = command
        self._wanted_ports = wanted_ports
        self.receiver_port = receiver_port
        self._per_stage = workers
        self._recreate_lost = tuple(recreate_lost)
        self._has_sandbox = stripe_sandbox
        self._supervisor = Supervisor(self.say)
        self._lock: IO[str] | None = None
        self._secrets_key = ""
        self.ports: dict[str, int] = {}
        self.workers: list[StageProcess] = []
        self.settings = Settings.model_construct()

    @property
    def config(self) -> Path:
        """The settings file of this stack."""
        return self.folder / "tallymark.toml"

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.folder / "logs"

    def start(self) -> Self:
        """Start everything, and return when it responds. After an error no process is left running.

        Raises Rejected when the folder is in use, Unavailable when a process does not start.
        """
        self._take_folder()
        try:
            self._choose()
            self._supervisor.start(self._stores())
            self._supervisor.wait_until_up(self._started_first(), START_S, may_restart=False)
            self._make_topics()
            started = [*map(self._worker_service, self.workers), self._api_service()]
            self._supervisor.start(started)
            self._supervisor.wait_until_up([service.name for service in started], START_S, may_restart=True)
            secret_files.admin_key(self.folder, self.settings, self.say)
        except BaseException:
            self.stop()
            raise
        return self

    def _started_first(self) -> list[str]:
        return [*STORES, "stripe"] if self._has_sandbox else list(STORES)

    def _make_topics(self) -> None:
        if self._recreate_lost:
            from pipeline.agents.lost_topics import recreate  # it imports Faust, which takes half a second

            for sentence in recreate(self.settings, self._recreate_lost):
                self.say(sentence)
        topics.apply(self.settings)

    def tend(self) -> None:
        """Restart processes that have exited."""
        self._supervisor.tend()

    def stop(self) -> None:
        """Stop the stages, the API, the stores and the broker, in this order. Returns when all have exited."""
        self._supervisor.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill(self) -> None:
        """Kill all processes; acknowledged data is kept."""
        self._supervisor.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def addresses(self) -> list[tuple[str, str]]:
        """The addresses and paths to show to the user: name and value."""
        lines = [
            ("broker", self.settings.kafka),
            ("api", self.settings.api_url),
            (
                "ClickHouse",
                f"http://{process.HOST}:{self.ports['clickhouse']} (chDB; password in clickhouse.secret)",
            ),
            (
                "redis",
                f"{process.HOST}:{self.ports['redis']} (password in redis.secret)"
                if self.settings.redis
                else "none: no redis-server on the PATH (so there are no fast reads of balances)",
            ),
            *self._sandbox_lines(),
            ("data", str(self.folder)),
            ("logs", str(self.logs)),
            ("settings", str(self.config)),
            ("key", self.settings.api_key_file),
        ]
        return lines + [(f"metrics {worker.name}", worker.metrics_url) for worker in self.workers]

    def _sandbox_lines(self) -> list[tuple[str, str]]:
        if not self._has_sandbox:
            return []
        return [("Stripe sandbox", f"{self.settings.stripe_address} (its test key is in {KEY_FILE})")]

    def export_line(self) -> str:
        """The shell line that directs other commands to this stack; empty if the defaults do."""
        defaults = Settings.model_construct()
        same = all(getattr(self.settings, name) == getattr(defaults, name) for name in ("kafka", "api_url"))
        same = same and Path(self.settings.api_key_file) == LOCAL_KEY_FILE.absolute()
        return "" if same else f"export {CONFIG_VARIABLE}={self.config}"

    def _take_folder(self) -> None:
        private.base(self.folder)
        for name in _FOLDERS:
            private.folder(self.folder / name)
        lock = (self.folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise Rejected(
                "in-use", f"Another `tallymark dev` (process {holder}) runs on {self.folder}."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _choose(self) -> None:
        """Choose ports and workers, and write the settings file."""
        last = last_ports(self.config)
        self.ports = {
            name: process.free_port(last.get(name, port), port) for name, port in self._wanted_ports.items()
        }
        redis = Redis(self.folder, self.ports["redis"]).url if is_available() else ""
        counts = {stage: 1 if stage in SINGLE else self._per_stage for stage in wanted(redis)}
        names = [(stage, number) for stage, count in counts.items() for number in range(count)]
        port = FIRST_METRICS_PORT
        self.workers = []
        for stage, number in names:
            port = (
                process.free_port(*range(port, port + 100))
                if self._wanted_ports["kafka"]
                else process.free_port()
            )
            self.workers.append(StageProcess(f"{stage}-{number}", stage, port))
            port += 1
        kept = settings_module.load()
        self._secrets_key = secret_files.secrets_key(self.folder, kept.secrets_key.get_secret_value())
        api_url = f"http://{process.HOST}:{self.ports['api']}"
        values: dict[str, str | int | float] = {
            "kafka": f"{process.HOST}:{self.ports['kafka']}",
            "clickhouse": ChDB(self.folder, self.ports["clickhouse"]).url,
            "redis": redis,
            "api_url": api_url,
            "api_host": process.HOST,
            "api_port": self.ports["api"],
            "api_key_file": str(self.folder / secret_files.ADMIN_KEY),
            "state_dir": str(self.folder / "state"),
            **{name: getattr(kept, name) for name in _KEPT},
            **({} if kept.webhook_allow_hosts else self._receivers()),
            **({"stripe_address": self._sandbox().url} if self._has_sandbox else {}),
        }
        private.write(self.config, toml_text(values))
        typed: dict[str, Any] = values | {"state_dir": self.folder / "state"}
        self.settings = Settings.model_construct(**typed)

    def _receivers(self) -> dict[str, str | int | float]:
        """The settings that allow webhooks to a receiver on this machine."""
        hosts = ",".join(f"{host}:{self.receiver_port}" for host in (process.HOST, "localhost"))
        return {"webhook_allow_hosts": hosts, "webhook_allow_http": True}

    def _sandbox(self) -> SandboxProcess:
        return SandboxProcess(self.folder, self.ports["stripe"])

    def _stores(self) -> list[Service]:
        broker = Kafka(self.folder, self.ports["kafka"], say=self.say)
        chdb = ChDB(self.folder, self.ports["clickhouse"])
        cache = Redis(self.folder, self.ports["redis"])
        services = [
            Service("kafka", broker.spawn, broker.log, broker.is_up, *_BROKER),
            Service("clickhouse", chdb.spawn, chdb.log, chdb.is_up, *_STORE),
        ]
        if self.settings.redis:
            services.append(Service("redis", cache.spawn, cache.log, cache.is_up, *_STORE))
        if self._has_sandbox:
            key_of(self.folder)  # before the process, so that it is there once the stack is up
            sandbox = self._sandbox()
            services.append(Service("stripe", sandbox.spawn, sandbox.log, sandbox.is_up, *_STORE))
        return services

    def _worker_service(self, worker: StageProcess) -> Service:
        def spawn() -> process.Process:
            environment = self._environment(metrics_port=str(worker.metrics_port))
            yields = worker.stage not in ANSWERING
            return process.spawn(self._command(worker.stage), log, environment, yields=yields)

        def is_ready() -> bool:
            pid = service.process.pid if service.process is not None else 0
            url = _metrics_url(self.settings.state_dir, worker, pid)
            return not url or _answers(url.removesuffix("/metrics") + "/ready")

        log = self.logs / f"{worker.name}.log"
        service = Service(worker.name, spawn, log, is_ready, *_STAGE)
        return service

    def _api_service(self) -> Service:
        log = self.logs / "api.log"
        secret = secret_files.portal_secret(self.folder)
        return Service(
            "api",
            lambda: process.spawn(self._command("api"), log, self._environment(portal_secret=secret)),
            log,
            lambda: _answers(f"{self.settings.api_url}/api/v1/ready"),
            *_API,
        )

    def _environment(self, **more: str) -> dict[str, str]:
        """This process's environment, with the stack's settings file as the only source of settings."""
        known = {PREFIX + name.upper() for name in Settings.model_fields}
        kept = {name: value for name, value in os.environ.items() if name.upper() not in known}
        secret = {"secrets_key": self._secrets_key}  # not in the settings file
        extra = {PREFIX + name.upper(): value for name, value in (secret | more).items()}
        return kept | extra | {CONFIG_VARIABLE: str(self.config), "PYTHONUNBUFFERED": "1"}


def run(stack: Stack) -> None:
    """Start the stack, print its addresses, and run it until Ctrl-C or SIGTERM. A second Ctrl-C kills it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        began_s = time.monotonic()
        stack.start()
        stack.say(f"tallymark is up after {time.monotonic() - began_s:.1f} s; Ctrl-C stops it")
        for name, value in stack.addresses():
            stack.say(f"  {name:<20} {value}")
        if line := stack.export_line():
            stack.say(f"Other commands do not find this stack by themselves. To use them, run:\n{line}")
        while True:
            stack.tend()
            time.sleep(TICK_S)
    except KeyboardInterrupt:
        stack.say("stopping")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: stack.kill())
        stack.stop()
    stack.say("stopped; no process is left running")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _metrics_url(state_dir: Path, worker: StageProcess, pid: int) -> str:
    """The URL of a worker's metrics from the file in its folder ("": none); before that, the planned one."""
    for file in state_dir.glob(f"{worker.stage}-*/{METRICS_FILE}"):
        wrote, _, url = file.read_text("utf-8").strip().partition(" ")
        if wrote == str(pid):
            return url
    return worker.metrics_url


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
