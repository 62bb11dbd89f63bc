"""Webhook workers on a real broker, and receivers that remember what they got and behave badly on purpose.

Owns: starting and killing workers, defining endpoints, raising alerts, reading deliveries. A receiver is not ours: its
signatures are checked by the `standardwebhooks` package.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from standardwebhooks import Webhook

from pipeline.contracts import ROOT
from pipeline.core.definitions.index import key
from pipeline.core.notifications.delivery_table import partition_of
from pipeline.core.notifications.standard_webhooks import secret_text
from pipeline.core.notifications.webhook_payload import payload
from pipeline.local import process
from pipeline.records import Alert, Command, Definition, Delivery, WebhookWork
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka.definitions import CompactedView
from tests.fixtures.patience import PATIENCE_S

NAMESPACE = "default"
READ = {"isolation.level": "read_committed", "enable.partition.eof": True}
SECRET = secret_text(bytes(range(32)))
TYPE = "entitlements.balance.threshold"


@dataclass
class Got:
    path: str
    id: str
    at_s: float
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers by path: 200, what `answers` says for it, or on `/slow` nothing until `release`."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: dict[str, Callable[[int], tuple[int, dict[str, str]]]] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    release: threading.Event = field(default_factory=threading.Event)
    verifier: Webhook = field(default_factory=lambda: Webhook(SECRET))

    def ids(self, path: str) -> Counter[str]:
        with self.changed:
            return Counter(one.id for one in self.got if one.path == path)

    def wait(self, predicate: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        with self.changed:
            assert self.changed.wait_for(predicate, timeout_s), Counter(one.path for one in self.got)

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str]]:
        self.verifier.verify(body, headers)  # raises, and then the test sees no message
        with self.changed:
            self.got.append(Got(path, headers["webhook-id"], time.time(), headers, body))
            number = sum(one.path == path for one in self.got)
            self.changed.notify_all()
        if path == "/slow":
            self.release.wait(PATIENCE_S)
        return self.answers.get(path, lambda _: (200, {}))(number)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(receiver))
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.release.set()
        server.shutdown()
        server.server_close()


class Webhooks:
    """Workers of the stage on `settings`, each with logs in `folder`."""

    def __init__(self, settings: Settings, folder: Path, **variables: str) -> None:
        self.settings = settings
        self.folder = folder
        self.workers: list[process.Process] = []
        self._variables = variables
        self._producer = Producer(cluster.producer_config(settings) | {"log_level": 0})
        self._revision = 0
        self.deliveries = CompactedView(settings, "deliveries", msgspec.json.Decoder(Delivery).decode)

    def __enter__(self) -> Webhooks:
        self.deliveries.start()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.deliveries.close()

    def start(self, **more: str) -> process.Process:
        """One worker, which runs when this returns or soon after."""
        foreign = {name: value for name, value in os.environ.items() if not name.startswith("TALLYMARK_")}
        variables = {
            "TALLYMARK_KAFKA": self.settings.kafka,
            "TALLYMARK_STATE_DIR": str(self.folder / "state"),
            "TALLYMARK_SESSION_TIMEOUT_S": "6",
            "TALLYMARK_WEBHOOK_ALLOW_HTTP": "true",
            "TALLYMARK_WEBHOOK_ALLOW_HOSTS": "127.0.0.1:*",
            "PYTHONPATH": str(ROOT),
            **self._variables,
            **more,
        }
        command = [sys.executable, "-m", "pipeline.cli", "worker", "webhook"]
        log = self.folder / f"worker-{len(self.workers)}.log"
        self.workers.append(process.spawn(command, log, foreign | variables))
        return self.workers[-1]

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    def endpoint(self, id: str, url: str, **more: Any) -> None:
        """Define an endpoint, as control would."""
        self._revision += 1
        body = {
            "id": id, "type": "WEBHOOK", "name": id, "url": url, "disabled": False, "signingSecret": SECRET, **more
        }  # fmt: skip
        definition = Definition(self._revision, "endpoint", NAMESPACE, id, "test", 1, body)
        name = key(NAMESPACE, "endpoint", id)
        self._producer.produce("control", msgspec.json.encode(definition), name)
        self._producer.flush()

    def alert(self, *endpoints: str, id: str, at_ms: int | None = None) -> Alert:
        at_ms = at_ms or int(time.time() * 1000)
        text = payload(id, TYPE, 1_767_225_600_000, {"number": id, "text": "ü"})
        made = Alert(id, NAMESPACE, TYPE, "rule", at_ms, list(endpoints), text)
        self._producer.produce("alerts", msgspec.json.encode(made), id)
        self._producer.poll(0)
        return made

    def flush(self) -> None:
        self._producer.flush()

    def publish(self, work: WebhookWork) -> None:
        """Resend or replay, as the API would."""
        target = partition_of(work.namespace, work.endpoint, self.settings.partitions)
        self._producer.produce("webhook-work", msgspec.json.encode(work), work.endpoint, target)
        self._producer.flush()

    def commands(self) -> list[tuple[str, dict[str, object]]]:
        """Kind and body of every command that is there now."""
        consumer = Consumer({**cluster.client_config(self.settings), "group.id": "commands", **READ})
        consumer.assign([TopicPartition("commands", 0, 0)])
        found = []
        while (message := consumer.poll(PATIENCE_S)) is not None and message.error() is None:
            command = msgspec.json.decode(message.value() or b"", type=Command)
            found.append((command.kind, command.body))
        consumer.close()
        return found

    def wait(
        self, predicate: Callable[[list[Delivery]], bool], timeout_s: float = PATIENCE_S
    ) -> list[Delivery]:
        """The deliveries when `predicate` has come true of them."""
        self.flush()
        done = self.deliveries.wait_for(lambda found: predicate(list(found.values())), timeout_s)
        found = sorted(self.deliveries.snapshot().values(), key=lambda delivery: delivery.id)
        assert done, (Counter(one.state for one in found), self.logs()[-4000:])
        return found


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more = receiver.take(self.path, headers, body)
            self.send_response(status)
            for name, value in {**more, "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    return Handler
