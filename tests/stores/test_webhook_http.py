"""The sender against servers that mean it badly: real sockets, real TLS, names that lie."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipeline.core.notifications.safe_address import ANY_PORT, STRICT, AddressPolicy
from pipeline.stores import webhook_http
from pipeline.stores.webhook_http import Answer, Sender, custom_headers
from tests.fixtures.patience import PATIENCE_S, slowed

HOST = "hooks.example.com"
OPEN = AddressPolicy(allow_http=True, allowed=frozenset({(HOST, ANY_PORT)}))
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def resolving(*rounds: list[str]) -> tuple[Callable[[str, int], Awaitable[list[str]]], list[str]]:
    """A resolver that gives the rounds one after the other, the last for ever; and what it was asked."""
    asked: list[str] = []

    async def resolve(host: str, _: int) -> list[str]:
        asked.append(host)
        return rounds[min(len(asked), len(rounds)) - 1]

    return resolve, asked


LOCAL = resolving(["127.0.0.1"])[0]


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on the loopback address; gives its port."""

    async def safely(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(safely, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Head and body of one request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
    return head, await reader.readexactly(int(length.split(":")[1]))


def answering(head: str, body: bytes = b"") -> tuple[Serve, list[tuple[str, bytes]]]:
    """Answers every request of a connection; and what was asked."""
    asked: list[tuple[str, bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked.append(await request(reader))
            writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()

    return serve, asked


async def post(serve: Serve, *, timeout_s: float = 3, path: str = "/") -> Answer:
    async with serving(serve) as port:
        sender = Sender(timeout_s, OPEN, resolve=LOCAL)
        try:
            return await sender.post(f"http://{HOST}:{port}{path}", {"webhook-id": "m"}, b'{"a":1}')
        finally:
            await sender.close()


def test_a_post_as_it_is_on_the_wire() -> None:
    serve, asked = answering("204 No Content")
    answer = asyncio.run(post(serve, path="/a?b=c"))
    assert (answer.status, answer.error) == (204, "")
    ((head, body),) = asked
    assert head.startswith("POST /a?b=c HTTP/1.1\r\n")
    assert f"\r\nHost: {HOST}:" in head and "\r\nwebhook-id: m\r\n" in head
    assert body == b'{"a":1}'
    assert "cookie" not in head.lower()


def test_a_connection_is_used_again_and_the_name_resolved_once_for_it() -> None:
    async def scenario() -> None:
        serve, seen = answering("200 OK\r\nSet-Cookie: a=b", b"x" * 1000)
        resolve, asked = resolving(["127.0.0.1"], ["10.0.0.1"])
        async with serving(serve) as port:
            sender = Sender(3, OPEN, resolve=resolve)
            for _ in range(5):
                assert (await sender.post(f"http://{HOST}:{port}/", {}, b"")).status == 200
            await sender.close()
        assert asked == [HOST]
        assert not any("cookie" in head.lower() for head, _ in seen)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.215.14", "127.0.0.1"],
        ["93.184.215.14", "::1"],
        ["::ffff:10.0.0.1"],
        ["169.254.169.254"],
    ],
)
def test_a_name_with_one_bad_address_is_not_connected_to(addresses: list[str]) -> None:
    async def scenario() -> None:
        sender = Sender(3, STRICT, resolve=resolving(addresses)[0])
        answer = await sender.post(f"https://{HOST}/", {}, b"")
        await sender.close()
        assert answer.status == 0 and "leads to" in answer.error

    asyncio.run(scenario())


def test_a_name_that_turns_bad_is_refused_at_its_next_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebinding: the first answer of the name server is good, the next one is the loopback address."""
    connected: list[tuple[str, int]] = []

    async def refuse(addr_infos: list[tuple[object, ...]], **_: object) -> None:
        connected.extend(info[4][:2] for info in addr_infos)  # type: ignore[index]
        raise ConnectionRefusedError

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", refuse)

    async def scenario() -> None:
        resolve, asked = resolving(["93.184.215.14"], ["127.0.0.1"])
        sender = Sender(3, STRICT, resolve=resolve)
        first = await sender.post(f"https://{HOST}/", {}, b"")
        second = await sender.post(f"https://{HOST}/", {}, b"")
        await sender.close()
        assert first.error == "The connection was refused, or the host cannot be reached."
        assert "127.0.0.1" in second.error
        assert len(asked) == 2

    asyncio.run(scenario())
    assert connected == [("93.184.215.14", 443)]  # the address that was checked, and never another


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://[::1]/", "http://hooks.example.com/", "https://a@b.com/"]
)
def test_a_bad_url_is_an_answer_and_not_an_error(url: str) -> None:
    async def scenario() -> None:
        sender = Sender(3, STRICT, resolve=LOCAL)
        answer = await sender.post(url, {}, b"")
        await sender.close()
        assert answer.status == 0 and answer.error.startswith("The URL cannot receive webhooks")

    asyncio.run(scenario())


def test_a_redirect_is_not_followed() -> None:
    serve, asked = answering("302 Found\r\nLocation: http://169.254.169.254/latest/meta-data/")
    assert asyncio.run(post(serve)).status == 302
    assert len(asked) == 1


def test_retry_after_is_handed_on() -> None:
    assert asyncio.run(post(answering("429 Slow\r\nRetry-After: 17")[0])).retry_after == "17"


def test_a_gigabyte_is_not_read() -> None:
    written = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        for _ in range(1024):
            writer.write(bytes(1 << 20))
            await writer.drain()
            written += 1 << 20

    answer = asyncio.run(post(serve))
    assert answer.status == 200
    assert written < 16 << 20  # what the sockets' buffers hold
    assert answer.duration_ms < slowed(2_500)


def test_a_gzip_bomb_is_not_opened() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    began_s = time.process_time()
    answer = asyncio.run(post(answering("200 OK\r\nContent-Encoding: gzip", bomb)[0]))
    assert answer.status == 200
    assert time.process_time() - began_s < 1


def test_a_body_that_drips_does_not_hold_up_the_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    answer = asyncio.run(post(serve, timeout_s=PATIENCE_S))
    assert answer.status == 200 and answer.duration_ms < slowed(2_500)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_silence_ends_with_the_timeout(sent: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(sent)
        while True:
            await asyncio.sleep(0.02)
            writer.write(b"." if sent else b"")
            await writer.drain()

    answer = asyncio.run(post(serve, timeout_s=0.5))
    assert (answer.status, answer.error) == (0, "No response within 0.5 s.")
    assert 400 <= answer.duration_ms < slowed(2_000)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,
        b"HTTP/1.1 9999 OK\r\n\r\n",
        b"\x16\x03\x01",
    ],
)
def test_what_is_not_http_is_an_error_that_says_so(sent: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(sent)
        await writer.drain()

    answer = asyncio.run(post(serve))
    assert answer.status == 0 and answer.error and len(answer.error) <= webhook_http.ERROR_CHARACTERS


def test_a_closed_port() -> None:
    async def scenario() -> Answer:
        async with serving(answering("200 OK")[0]) as port:
            pass
        sender = Sender(3, OPEN, resolve=LOCAL)
        answer = await sender.post(f"http://{HOST}:{port}/", {}, b"")
        await sender.close()
        return answer

    answer = asyncio.run(scenario())
    assert answer.status == 0 and answer.error


def test_a_header_that_would_begin_another_is_not_sent() -> None:
    async def scenario() -> None:
        serve, asked = answering("200 OK")
        async with serving(serve) as port:
            sender = Sender(3, OPEN, resolve=LOCAL)
            answer = await sender.post(f"http://{HOST}:{port}/", {"X-A": "b\r\nX-Evil: 1"}, b"")
            await sender.close()
        assert answer.status == 0 and not asked

    asyncio.run(scenario())


def test_endpoints_cannot_set_what_is_ours() -> None:
    wanted = {
        "X-A": "1",
        "HOST": "evil",
        "Webhook-Id": "x",
        "webhook-anything": "x",
        "Transfer-Encoding": "x",
    }
    assert custom_headers(wanted) == {"X-A": "1"}


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """A server's context with a certificate for `name` that it signed itself, and the file to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.9"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(private + pem)
    (folder / "ca.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context, str(folder / "ca.pem")


@pytest.mark.parametrize(
    ("name", "trusted", "status"), [(HOST, True, 200), (HOST, False, 0), ("other.example.com", True, 0)]
)
def test_tls_is_verified_for_the_name(tmp_path: Path, name: str, trusted: bool, status: int) -> None:
    asked_for: list[str | None] = []

    async def scenario() -> Answer:
        context, ca = certificate(tmp_path, name)
        context.sni_callback = lambda _, server_name, __: asked_for.append(server_name)
        async with serving(answering("200 OK")[0], context) as port:
            sender = Sender(3, OPEN, resolve=LOCAL, trusted=ca if trusted else "")
            answer = await sender.post(f"https://{HOST}:{port}/", {}, b"")
            await sender.close()
            return answer

    answer = asyncio.run(scenario())
    assert answer.status == status
    assert asked_for == [HOST]  # SNI has the name, although the connection goes to an address
    assert (answer.error == "") == (status == 200)
    if status == 0:
        assert "certificate" in answer.error


def test_a_slow_name_server_delays_only_its_own() -> None:
    async def scenario() -> None:
        async def resolve(host: str, _: int) -> list[str]:
            if host == "slow.example.com":
                await asyncio.sleep(60)
            return ["127.0.0.1"]

        policy = AddressPolicy(
            allow_http=True, allowed=frozenset({(HOST, ANY_PORT), ("slow.example.com", "80")})
        )
        async with serving(answering("200 OK")[0]) as port:
            sender = Sender(1, policy, resolve=resolve)
            slow = asyncio.create_task(sender.post("http://slow.example.com/", {}, b""))
            quick = await sender.post(f"http://{HOST}:{port}/", {}, b"")
            assert quick.status == 200 and quick.duration_ms < slowed(500)
            assert (await slow).error == "No response within 1 s."
            await sender.close()

    asyncio.run(scenario())
