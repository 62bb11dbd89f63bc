"""`tallymark listen`: what is verified, what is refused, what is shown."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from pipeline.core.notifications import standard_webhooks, webhook_payload
from pipeline.errors import Unavailable
from pipeline.local.webhook_receiver import MOST_BYTES, Message, Receiver, line, listen, new_secret
from tests.fixtures.hostile_json import TEXTS
from tests.fixtures.patience import PATIENCE_S

SECRET = new_secret()
BODY = webhook_payload.payload("m1", "a.b", 1_767_225_600_000, {"text": "ü"}).encode()


def send(url: str, id: str = "m1", secret: str = SECRET, body: bytes = BODY) -> int:
    headers = standard_webhooks.headers([standard_webhooks.parse_key(secret)], id, int(time.time()), body)
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_signed_ones_are_counted_once_an_id_and_others_refused() -> None:
    other = new_secret()
    with Receiver([SECRET, other], status=202) as receiver:
        assert [send(receiver.url), send(receiver.url), send(receiver.url, "m2", other)] == [202, 202, 202]
        assert send(receiver.url, "m3", new_secret()) == 401
        assert receiver.wait(2, 5) and not receiver.wait(3, 0.05)
    assert [(one.id, one.type, bool(one.refused), one.seen) for one in receiver.messages] == [
        ("m1", "a.b", False, False),
        ("m1", "a.b", False, True),
        ("m2", "a.b", False, False),
        ("m3", "a.b", True, False),
    ]


def test_a_body_that_is_too_large_is_not_read() -> None:
    with Receiver([SECRET]) as receiver:
        request = urllib.request.Request(receiver.url, b"", {"Content-Length": str(MOST_BYTES + 1)})
        with pytest.raises(urllib.error.HTTPError, match="413"):
            urllib.request.urlopen(request, timeout=PATIENCE_S)
    assert receiver.messages == []


def test_a_signed_body_is_answered_whatever_it_says() -> None:
    with Receiver([SECRET]) as receiver:
        for text in TEXTS.values():
            assert send(receiver.url, body=text) == 200
        assert {one.type for one in receiver.messages} == {"?"}
        assert all(line(one).replace("\n", "").isprintable() for one in receiver.messages)


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "x", "\u00b2"])
def test_a_length_that_is_none_is_answered(length: str) -> None:
    with (
        Receiver([SECRET]) as receiver,
        socket.create_connection(receiver.address, timeout=PATIENCE_S) as connection,
    ):
        connection.sendall(
            f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode("latin-1")
        )
        assert connection.recv(64).startswith(b"HTTP/1.1 413 ")


def test_a_taken_port_is_one_sentence() -> None:
    with Receiver([SECRET]) as receiver:
        port = int(receiver.url.rstrip("/").rpartition(":")[2])
        with pytest.raises(Unavailable, match="Cannot listen"):
            Receiver([SECRET], port)


def test_a_line_shows_what_came() -> None:
    message = Message(0.0, "/", "m1", "a.b", b'{"type": "a.b",\n "n": 1}', "", True)
    assert line(message).endswith('verified  a.b  m1  (again)\n  {"type": "a.b", "n": 1}')
    assert "REFUSED" in line(Message(0.0, "/", "", "?", b"", "No signature is right.", False))
    assert len(line(Message(0.0, "/", "m", "t", b"x" * 9_999, "", False))) < 500


def test_listen_makes_a_secret_says_it_and_ends_after_count() -> None:
    lines: list[str] = []
    ready = threading.Event()

    def say(text: str) -> None:
        lines.append(text)
        if text.startswith("signing secret"):
            ready.set()

    running = threading.Thread(target=listen, args=(0, [], 200, 1, say))
    running.start()
    assert ready.wait(PATIENCE_S)
    url, secret = lines[0].rpartition(" ")[2], lines[1].rpartition(" ")[2]
    assert send(url, secret=secret) == 200
    running.join(PATIENCE_S)
    assert not running.is_alive()
    assert "verified  a.b  m1" in lines[2]
