"""Records what the official CloudEvents SDKs send: `python -m tests.foreign.sdks [NAME ...]`.

Owns: installing each SDK from its registry, a real broker and a socket that keep the bytes, the files of `recorded/`.
Does not own: which events are sent (cases.json), how an SDK is called (js, py, go, java), what becomes of the bytes
(test_sdks). Needs node, go, a JDK with Maven, and the registries.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import venv
from collections.abc import Callable
from pathlib import Path
from socket import create_server, socket
from typing import Any

import h11
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline.local.kafka import Kafka
from pipeline.local.process import free_port
from tests.flow.accepted_events import read

HERE = Path(__file__).parent
CASES = HERE / "cases.json"
RUN_S = 120
LEFT_OUT = {b"host", b"connection", b"accept", b"accept-encoding", b"keep-alive"}


class Capture:
    """A port that answers 204 to each request and keeps its headers and body."""

    def __init__(self) -> None:
        self.requests: list[tuple[list[tuple[bytes, bytes]], bytes]] = []
        self._server = create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket) -> None:
        connection = h11.Connection(h11.SERVER)
        headers: list[tuple[bytes, bytes]] = []
        body = b""
        with client:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(client.recv(65_536))
                elif isinstance(event, h11.Request):
                    headers, body = (
                        [(name, value) for name, value in event.headers if name not in LEFT_OUT],
                        b"",
                    )
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.requests.append((headers, body))
                    answer = h11.Response(status_code=204, headers=[("content-length", "0")])
                    client.sendall(
                        (connection.send(answer) or b"") + (connection.send(h11.EndOfMessage()) or b"")
                    )
                    connection.start_next_cycle()
                else:
                    return


def js(folder: Path) -> list[str]:
    shutil.copytree(HERE / "js", folder, dirs_exist_ok=True)
    _run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], folder)
    return ["node", str(folder / "send.mjs")]


def python(version: str, package: str) -> Callable[[Path], list[str]]:
    def install(folder: Path) -> list[str]:
        venv.create(folder, with_pip=True)
        interpreter = str(folder / "bin" / "python")
        _run([interpreter, "-m", "pip", "install", "-q", package, "confluent-kafka", "requests"], folder)
        return [interpreter, str(HERE / "py" / "send.py"), version]

    return install


def go(folder: Path) -> list[str]:
    shutil.copytree(HERE / "go", folder, dirs_exist_ok=True)
    _run(["go", "build", "-o", "send", "."], folder)
    return [str(folder / "send")]


def java(folder: Path) -> list[str]:
    shutil.copytree(HERE / "java", folder, dirs_exist_ok=True)
    _run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"], folder)
    return ["java", "-cp", str(folder / "lib" / "*"), str(folder / "Send.java")]


SDKS: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    "js": ("npm cloudevents 10.0.0, kafkajs 2.2.4", js),
    "python-1": ("PyPI cloudevents 1.12.1, confluent-kafka, requests", python("1", "cloudevents==1.12.1")),
    "python-2": ("PyPI cloudevents 2.2.0, confluent-kafka, requests", python("2", "cloudevents==2.2.0")),
    "go": ("github.com/cloudevents/sdk-go/v2 2.16.2, kafka_sarama", go),
    "java": ("io.cloudevents 4.0.1 (kafka, http-basic, json-jackson)", java),
}


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=RUN_S, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])}: {done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout


def record(name: str, folder: Path, servers: str) -> dict[str, Any]:
    """What the SDK `name` makes of each case: {"sdk", "events": one an event, as `event_of` says}."""
    label, install = SDKS[name]
    command = install(folder / name)
    topic = f"sdk-{name}"
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
    capture = Capture()
    try:
        outcome = [
            json.loads(line)
            for line in _run([*command, str(CASES), servers, topic, capture.url], folder).splitlines()
        ]
    finally:
        capture.close()
    sent = {"kafka": iter(read(servers, topic)), "http": iter(capture.requests)}
    return {"sdk": label, "events": [event_of(one, sent) for one in outcome]}


def event_of(outcome: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """One recorded event: case, binding, mode, and either `refused` or key, headers, value.

    Bytes are text with one character a byte (Latin-1), so that JSON keeps them; null is null.
    """
    if "refused" in outcome:
        return outcome
    found = next(sent[outcome["binding"]])
    if outcome["binding"] == "kafka":
        headers = [[name, _text(value)] for name, value in found.headers() or []]
        return outcome | {"key": _text(found.key()), "headers": headers, "value": _text(found.value())}
    return outcome | {
        "headers": [[_text(name), _text(value)] for name, value in found[0]],
        "value": _text(found[1]),
    }


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("latin-1")


def main(names: list[str]) -> None:
    """Writes recorded/NAME.json of each SDK named, or of all."""
    with tempfile.TemporaryDirectory(prefix="tallymark-sdks-") as folder:
        broker = Kafka(Path(folder), free_port()).start()
        try:
            for name in names or SDKS:
                recording = record(name, Path(folder), broker.address)
                lines = ",\n".join(json.dumps(event) for event in recording["events"])
                text = f'{{"sdk": {json.dumps(recording["sdk"])}, "events": [\n{lines}\n]}}\n'
                (HERE / "recorded" / f"{name}.json").write_text(text)
                print(f"{name}: {len(recording['events'])} events")
        finally:
            broker.kill()


if __name__ == "__main__":
    os.environ.setdefault("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
    main(sys.argv[1:])
