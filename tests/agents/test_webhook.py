"""WEBHOOK: an alert's share of each endpoint, deliveries as others see them, and endpoints as they are known."""

from __future__ import annotations

import base64

import msgspec

from pipeline.agents import webhook
from pipeline.agents.webhook_endpoints import Endpoints
from pipeline.core.control import decide, take
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.index import DefinitionIndex, key_of
from pipeline.core.notifications.delivery_table import partition_of
from pipeline.core.notifications.endpoint import place
from pipeline.core.notifications.standard_webhooks import SCHEDULE_MS, parse_key, secret_text
from pipeline.core.values.sealed import Seal
from pipeline.records import Alert, Attempt, Command, Definition, Delivery, WebhookWork
from tests.fixtures.fake_transaction import DictTable, FakeTransactions, chunk_of

NOW_MS = 1_700_000_000_000  # what FakeRecord has
DAY_MS = 86_400_000
SECRET, OLDER = secret_text(bytes(32)), secret_text(bytes(24))


def alert(id: str, *endpoints: str, at_ms: int = NOW_MS) -> Alert:
    return Alert(id, "acme", "t", "rule", at_ms, list(endpoints), '{"type":"t","number":1.10}')


def shared(*alerts: Alert, counted_offset: int = -1) -> FakeTransactions:
    chunk = chunk_of("alerts", [msgspec.json.encode(one) for one in alerts], 3)
    working = FakeTransactions(chunk, counted_offset=counted_offset)
    webhook.share_out(working.transaction, 4)
    return working


def run(
    *work: WebhookWork, table: DictTable | None = None, kept_ms: int = 30 * DAY_MS, begin: int = 0
) -> FakeTransactions:
    values = {begin + number: msgspec.json.encode(one) for number, one in enumerate(work)}
    working = FakeTransactions(chunk_of("webhook-work", values, 2), table)
    webhook.fill(working.transaction, SCHEDULE_MS, webhook.Forgetting(kept_ms))
    return working


def deliver(id: str, endpoint: str = "e1", at_ms: int = NOW_MS) -> WebhookWork:
    return WebhookWork("deliver", "acme", endpoint, "", NOW_MS, alert(id, endpoint, at_ms=at_ms))


def listed(working: FakeTransactions) -> list[Delivery]:
    return [msgspec.json.decode(one.value, type=Delivery) for one in working.to("deliveries") if one.value]


def test_each_endpoint_gets_its_share_in_its_partition_once() -> None:
    working = shared(alert("a", "e1", "e2", "e1"), alert("b"), alert("c", "e2"))
    sent = [
        (msgspec.json.decode(one.value or b"", type=WebhookWork), one) for one in working.to("webhook-work")
    ]
    assert [(work.kind, work.endpoint, work.alert.id if work.alert else "") for work, _ in sent] == [
        ("deliver", "e1", "a"),
        ("deliver", "e2", "a"),
        ("deliver", "e2", "c"),
    ]
    assert all(one.partition == partition_of("acme", work.endpoint, 4) for work, one in sent)
    assert sent[0][0].alert == alert("a", "e1", "e2", "e1")
    assert working.counts == {"acme": {"alerts": 3}}
    assert shared(alert("a", "e1"), counted_offset=0).counts == {}


def test_a_delivery_is_listed_as_it_is_at_the_end_of_the_chunk() -> None:
    first = run(deliver("a"), deliver("b"))
    one, two = listed(first)
    assert [(found.alert, found.state) for found in (one, two)] == [("a", "PENDING"), ("b", "PENDING")]
    assert {(sent.key, sent.partition) for sent in first.to("deliveries")} == {
        (one.id.encode(), 2),
        (two.id.encode(), 2),
    }
    tried = [
        Attempt(number, NOW_MS, 1, outcome, 500) for number, outcome in ((1, "failed"), (2, "delivered"))
    ]
    work = [WebhookWork("attempt", "acme", "e1", one.id, NOW_MS, attempt=attempt) for attempt in tried]
    second = run(*work, table=first.table, begin=2)
    (found,) = listed(second)
    assert (found.state, len(found.attempts)) == ("SUCCESS", 2)
    assert second.counts == {"acme": {"failed": 1, "delivered": 1}}


def test_gone_sends_a_command() -> None:
    first = run(deliver("a"))
    gone = Attempt(1, NOW_MS, 1, "gone", 410)
    working = run(
        WebhookWork("attempt", "acme", "e1", listed(first)[0].id, 1, attempt=gone), table=first.table, begin=1
    )
    (sent,) = working.to("commands")
    command = msgspec.json.decode(sent.value or b"", type=Command)
    assert (command.kind, command.namespace, command.body) == (
        "endpoint.disable",
        "acme",
        {"id": "e1", "reason": "gone"},
    )
    assert command.actor == "webhook"


def test_what_is_old_goes_from_the_table_and_from_the_topic() -> None:
    old = run(deliver("old", at_ms=NOW_MS - 40 * DAY_MS))
    (one,) = listed(old)
    done = Attempt(1, NOW_MS - 40 * DAY_MS, 1, "delivered", 200)
    ended = run(
        WebhookWork("attempt", "acme", "e1", one.id, 1, attempt=done),
        table=old.table,
        kept_ms=90 * DAY_MS,
        begin=1,
    )
    working = run(deliver("new"), table=ended.table, begin=2)
    assert [sent.key for sent in working.to("deliveries") if sent.value is None] == [one.id.encode()]
    assert [found.alert for found in listed(working)] == ["new"]
    assert not any(one.id.encode() in key for key in working.table.rows)


def definition(body: dict[str, object] | None, id: str = "e1") -> dict[str, Definition | None]:
    if body is not None:
        body = {"id": id, "type": "WEBHOOK", "name": id, "url": "", "disabled": False, **body}
    return {f"acme/endpoint/{id}": Definition(1, "endpoint", "acme", id, "me", 1, body)}


def test_an_endpoint_is_known_as_it_was_last_defined() -> None:
    known = Endpoints(Seal.of(""))
    known.update(
        Changes(
            definition(
                {
                    "url": "https://a.example/",
                    "signingSecret": SECRET,
                    "customHeaders": {"X-A": "1", "Host": "x"},
                }
            )
        )
    )
    found = known.get("acme", "e1")
    assert found is not None
    assert (found.url, found.headers, found.disabled) == ("https://a.example/", {"X-A": "1"}, False)
    assert known.get("other", "e1") is None
    known.update(
        Changes(definition({"url": "https://a.example/", "signingSecret": SECRET, "disabled": True}))
    )
    assert (found := known.get("acme", "e1")) is not None and found.disabled
    for gone in ({"url": "", "deletedAt": "2026-01-01T00:00:00Z"}, None):
        known.update(Changes(definition({"url": "https://a.example/", "signingSecret": SECRET})))
        known.update(Changes(definition(gone)))
        assert known.get("acme", "e1") is None
    known.update(Changes(definition({"url": "https://a.example/", "signingSecret": SECRET})))
    known.update(Changes({"acme/endpoint/e1": None}))
    assert known.get("acme", "e1") is None


def test_while_a_secret_rotates_both_sign() -> None:
    known = Endpoints(Seal.of(""))
    older = {"secret": OLDER, "until": "2026-01-01T00:00:00Z"}
    known.update(Changes(definition({"url": "", "signingSecret": SECRET, "previousSecret": older})))
    found = known.get("acme", "e1")
    assert found is not None
    until_s = 1_767_225_600
    assert found.keys(until_s - 1) == [parse_key(SECRET), parse_key(OLDER)]
    assert found.keys(until_s) == [parse_key(SECRET)]


def test_sealed_secrets_are_opened_and_what_does_not_open_is_a_problem() -> None:
    seal = Seal.of(base64.b64encode(bytes(32)).decode())
    sealed = seal.close(SECRET, place("acme"), bytes(12))
    for setting, problem in ((seal, ""), (Seal.of(""), "The webhook cannot be signed")):
        known = Endpoints(setting)
        known.update(Changes(definition({"url": "", "signingSecret": sealed})))
        found = known.get("acme", "e1")
        assert found is not None and found.problem.startswith(problem)
        assert found.keys(0) == ([] if problem else [parse_key(SECRET)])
        assert SECRET not in repr(found)


def test_other_kinds_mean_nothing() -> None:
    known = Endpoints(Seal.of(""))
    known.update(Changes({"acme/meter/e1": Definition(1, "meter", "acme", "e1", "me", 1, {"slug": "e1"})}))
    assert known.get("acme", "e1") is None


def test_what_control_decides_is_what_the_stage_understands_and_the_other_way_round() -> None:
    """An endpoint is made, its secret rotated, and disabled by the command that a 410 leads to."""
    seal, catalog = Seal.of(base64.b64encode(bytes(32)).decode()), DefinitionIndex({})
    known = Endpoints(seal)

    def decided(kind: str, **body: object) -> dict[str, object]:
        command = Command(f"{kind}-1", kind, "acme", "me", NOW_MS, body)
        return settled(command)

    def settled(command: Command) -> dict[str, object]:
        decision = decide(catalog, command, NOW_MS)
        assert decision.reply.error == "", decision.reply.detail
        take(catalog, decision)
        known.update(Changes({key_of(one): one for one in decision.definitions}))
        return decision.reply.body or {}

    def sealed(secret: str) -> str:
        return seal.close(secret, place("acme"), bytes(12))

    made = decided(
        "endpoint.create",
        name="n",
        url="https://a.example/",
        signingSecret=sealed(OLDER),
        customHeaders={"X": "1"},
    )
    id = str(made["id"])
    decided("endpoint.rotate", id=id, signingSecret=sealed(SECRET), overlapS=60)
    found = known.get("acme", id)
    assert found is not None and found.headers == {"X": "1"}
    assert found.keys(NOW_MS // 1000 + 59) == [parse_key(SECRET), parse_key(OLDER)]
    assert found.keys(NOW_MS // 1000 + 60) == [parse_key(SECRET)]
    first = run(deliver("a", id))
    gone = WebhookWork(
        "attempt", "acme", id, listed(first)[0].id, 1, attempt=Attempt(1, NOW_MS, 1, "gone", 410)
    )
    (sent,) = run(gone, table=first.table, begin=1).to("commands")
    assert settled(msgspec.json.decode(sent.value or b"", type=Command))["disabledReason"] == "gone"
    assert (found := known.get("acme", id)) is not None and found.disabled
    decided("endpoint.delete", id=id)
    assert known.get("acme", id) is None
