"""The webhook stage on a real broker: workers that are killed, receivers that are slow, and nothing lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.records import Delivery, WebhookWork
from pipeline.settings import Settings
from tests.fixtures.patience import PATIENCE_S, slowed
from tests.flow.webhooks import NAMESPACE, Receiver, Webhooks, receiving

pytestmark = pytest.mark.own_broker  # workers run for a minute
QUICK = "0,0.2,0.2,0.2,0.2,0.2"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def webhooks(fresh_topics: Settings, tmp_path: Path) -> Iterator[Webhooks]:
    with Webhooks(fresh_topics, tmp_path, TALLYMARK_WEBHOOK_SCHEDULE_S=QUICK) as found:
        yield found


def test_alerts_arrive_signed_and_their_deliveries_are_listed(webhooks: Webhooks, receiver: Receiver) -> None:
    webhooks.endpoint("ok", f"{receiver.url}/ok", customHeaders={"X-Team": "billing", "Host": "evil"})
    webhooks.endpoint("off", f"{receiver.url}/off", disabled=True)
    webhooks.endpoint("moody", f"{receiver.url}/moody")
    receiver.answers["/moody"] = lambda number: (302 if number < 3 else 204, {"Location": "/elsewhere"})
    webhooks.start()
    made = webhooks.alert("ok", "off", "moody", "moody", id="a1")
    found = webhooks.wait(lambda all: len(all) == 3 and all_ended(all))
    states = {one.endpoint: (one.state, one.reason, [try_.status for try_ in one.attempts]) for one in found}
    assert states == {
        "ok": ("SUCCESS", "", [200]),
        "off": ("FAILED", "endpoint-disabled", [0]),
        "moody": ("SUCCESS", "", [302, 302, 204]),
    }
    assert {one.body for one in receiver.got} == {made.payload.encode()}
    assert {one.id for one in receiver.got} == {"a1"}
    assert not receiver.ids("/elsewhere") and not receiver.ids("/off")
    (ok,) = [one for one in receiver.got if one.path == "/ok"]
    assert (ok.headers["x-team"], ok.headers["host"]) == ("billing", receiver.url.removeprefix("http://"))
    assert ok.headers["content-type"] == "application/json"


def test_a_worker_killed_after_the_post_sends_again_under_the_same_id(
    webhooks: Webhooks, receiver: Receiver, tmp_path: Path
) -> None:
    webhooks.endpoint("ok", f"{receiver.url}/ok")
    armed = tmp_path / "armed"
    armed.mkdir()
    (armed / "webhook.posted").write_text("kill")
    dead = webhooks.start(CRASH_DIR=str(armed))
    for number in range(20):
        webhooks.alert("ok", id=f"a{number}")
    webhooks.flush()
    assert dead.wait(PATIENCE_S) == -signal.SIGKILL
    assert receiver.ids("/ok")
    webhooks.start()
    found = webhooks.wait(lambda all: len(all) == 20 and all_ended(all))
    assert {one.state for one in found} == {"SUCCESS"}
    assert receiver.ids("/ok").keys() == {f"a{number}" for number in range(20)}
    # Only webhooks that were in progress at the kill arrived twice: an endpoint has at most four at a time.
    assert sum(receiver.ids("/ok").values()) - 20 <= 4
    assert max(receiver.ids("/ok").values()) == 2


def test_one_slow_endpoint_delays_no_other(webhooks: Webhooks, receiver: Receiver) -> None:
    webhooks.endpoint("slow", f"{receiver.url}/slow")
    webhooks.endpoint("ok", f"{receiver.url}/ok")
    webhooks.start(TALLYMARK_WEBHOOK_TIMEOUT_S="60")
    webhooks.alert("ok", id="first")
    webhooks.wait(lambda all: len(all) == 1 and all_ended(all))
    began_s = time.time()
    for number in range(40):
        webhooks.alert("slow", "ok", id=f"a{number}")
    webhooks.flush()
    receiver.wait(lambda: len(receiver.ids("/ok")) == 41)
    assert max(one.at_s for one in receiver.got if one.path == "/ok") - began_s < slowed(4)
    receiver.wait(lambda: len(receiver.ids("/slow")) >= 4)
    assert len(receiver.ids("/slow")) == 4  # the limit of concurrent webhooks; the others wait


def test_retries_survive_a_restart_and_gone_disables(webhooks: Webhooks, receiver: Receiver) -> None:
    webhooks.endpoint("down", f"{receiver.url}/down")
    webhooks.endpoint("gone", f"{receiver.url}/gone")
    up: list[bool] = []
    receiver.answers["/down"] = lambda _: (200 if up else 503, {"Retry-After": "3"})
    receiver.answers["/gone"] = lambda _: (410, {})
    first = webhooks.start()
    for number in range(4):
        webhooks.alert("down", id=f"a{number}")
    webhooks.alert("gone", id="g")
    webhooks.wait(
        lambda all: (
            sum(one.state == "SENDING" for one in all) == 4 and any(one.reason == "gone" for one in all)
        )
    )
    first.kill()
    first.wait()
    up.append(True)
    webhooks.start()
    found = [one for one in webhooks.wait(all_ended) if one.endpoint == "down"]
    for one in found:
        statuses = [try_.status for try_ in one.attempts]
        assert statuses == [503] * (len(statuses) - 1) + [200] and len(statuses) > 1
        for before, after in pairwise(one.attempts):
            assert after.at_ms >= before.at_ms + 3_000  # as the receiver asked
    assert webhooks.commands() == [("endpoint.disable", {"id": "gone", "reason": "gone"})]


def test_resend_and_replay(webhooks: Webhooks, receiver: Receiver) -> None:
    webhooks.endpoint("ok", f"{receiver.url}/ok")
    webhooks.endpoint("bad", f"{receiver.url}/bad")
    good: list[bool] = []
    receiver.answers["/bad"] = lambda _: (200 if good else 500, {})
    webhooks.start()
    webhooks.alert("ok", id="fine")
    for number in range(10):
        webhooks.alert("bad", id=f"b{number}", at_ms=1_000_000 + number)
    found = webhooks.wait(lambda all: len(all) == 11 and all_ended(all))
    assert {one.reason for one in found if one.endpoint == "bad"} == {"exhausted"}
    assert {len(one.attempts) for one in found if one.endpoint == "bad"} == {6}
    (fine,) = [one for one in found if one.endpoint == "ok"]
    good.append(True)
    webhooks.publish(WebhookWork("resend", NAMESPACE, "ok", fine.id, 1, actor="me"))
    webhooks.publish(WebhookWork("resend", NAMESPACE, "bad", fine.id, 1, actor="me"))  # not that endpoint's
    replay = WebhookWork(
        "replay", NAMESPACE, "bad", "", 1, from_ms=1_000_003, to_ms=1_000_007, states=["FAILED"]
    )
    webhooks.publish(replay)
    webhooks.wait(
        lambda all: sum(one.state == "SUCCESS" for one in all) == 5 and receiver.ids("/ok")["fine"] == 2
    )
    after = {one.alert: one for one in webhooks.deliveries.snapshot().values()}
    assert [id for id, one in sorted(after.items()) if one.state == "SUCCESS"] == [
        "b3",
        "b4",
        "b5",
        "b6",
        "fine",
    ]
    assert receiver.ids("/bad")["b3"] == 7 and receiver.ids("/bad")["b7"] == 6


def test_a_rebalance_moves_what_waits_to_the_new_owner(webhooks: Webhooks, receiver: Receiver) -> None:
    """Two workers, then one is frozen past its session, then it wakes: everything arrives."""
    names = [f"e{number}" for number in range(8)]
    receiver.answers |= {f"/{name}": lambda number: (200 if number > 2 else 500, {}) for name in names}
    for name in names:
        webhooks.endpoint(name, f"{receiver.url}/{name}")
    first = webhooks.start()
    for number in range(40):
        webhooks.alert(*names, id=f"a{number}")
    webhooks.wait(lambda all: len(all) > 20)
    webhooks.start()
    webhooks.wait(lambda all: len(all) == 320 and all_ended(all))
    first.send_signal(signal.SIGSTOP)
    for number in range(40, 60):
        webhooks.alert(*names, id=f"a{number}")
    webhooks.wait(lambda all: len(all) == 480 and all_ended(all))
    first.send_signal(signal.SIGCONT)
    for number in range(60, 70):
        webhooks.alert(*names, id=f"a{number}")
    found = webhooks.wait(lambda all: len(all) == 560 and all_ended(all))
    assert {one.state for one in found} == {"SUCCESS"}
    for name in names:
        assert receiver.ids(f"/{name}").keys() == {f"a{number}" for number in range(70)}


def all_ended(deliveries: list[Delivery]) -> bool:
    return bool(deliveries) and all(not one.next_at_ms for one in deliveries)
