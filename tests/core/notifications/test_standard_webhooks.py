"""Standard Webhooks: the vectors of the specification and its libraries, and a receiver that is not ours."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from pipeline.core.notifications import standard_webhooks
from pipeline.core.notifications.standard_webhooks import (
    SCHEDULE_MS,
    delay_ms,
    parse_key,
    retry_after_ms,
    secret_text,
    signing_key,
    verify,
)
from pipeline.core.notifications.webhook_payload import payload
from pipeline.errors import Rejected

A_SECRET, A_ID, A_AT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
A_BODY, A_GOOD = b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
B_SECRET, B_ID, B_AT = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553
B_BODY = b'{"email":"test@example.com","username":"test_user"}'
B_GOOD = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="
C_PRIVATE = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
C_PUBLIC = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
C_GOOD = "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw=="
WRONG = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="


@pytest.mark.parametrize(
    ("secret", "id", "at_s", "body", "good"),
    [
        (A_SECRET, A_ID, A_AT, A_BODY, A_GOOD),
        (A_SECRET.removeprefix("whsec_"), A_ID, A_AT, A_BODY, A_GOOD),
        (B_SECRET, B_ID, B_AT, B_BODY, B_GOOD),
        (C_PRIVATE, A_ID, A_AT, A_BODY, C_GOOD),
    ],
)
def test_the_vectors(secret: str, id: str, at_s: int, body: bytes, good: str) -> None:
    made = standard_webhooks.headers([parse_key(secret)], id, at_s, body)
    assert made == {"webhook-id": id, "webhook-timestamp": str(at_s), "webhook-signature": good}


def received(**changes: str | None) -> dict[str, str]:
    whole = {"Webhook-Id": A_ID, "webhook-timestamp": str(A_AT), "WEBHOOK-SIGNATURE": A_GOOD}
    for name, value in changes.items():
        whole = {known: kept for known, kept in whole.items() if known.lower() != f"webhook-{name}"}
        if value is not None:
            whole[f"webhook-{name}"] = value
    return whole


@pytest.mark.parametrize(
    ("headers", "now_s"),
    [
        (received(), A_AT),
        (received(), A_AT + 300),
        (received(), A_AT - 300),
        (received(signature=f"{WRONG} v2,{WRONG[3:]} {A_GOOD} {WRONG}"), A_AT),
        (received(signature=f"{WRONG} {A_GOOD}"), A_AT),
        (received(signature=f"v1,!!! {A_GOOD}"), A_AT),
    ],
)
def test_taken(headers: dict[str, str], now_s: int) -> None:
    verify([parse_key(A_SECRET)], headers, A_BODY, now_s)


@pytest.mark.parametrize(
    ("headers", "now_s"),
    [
        (received(id=None), A_AT),
        (received(timestamp=None), A_AT),
        (received(signature=None), A_AT),
        (received(id=""), A_AT),
        (received(timestamp="hello"), A_AT),
        (received(timestamp="1614265330.0"), A_AT),
        (received(timestamp="-5"), A_AT),
        (received(), A_AT + 301),
        (received(), A_AT - 301),
        (received(signature=A_GOOD.replace("LJ1OE=", "LJ1OA=")), A_AT),
        (received(signature="v1,"), A_AT),
        (received(signature=A_GOOD[:8]), A_AT),
        (received(signature=f"{WRONG} {WRONG} {WRONG}"), A_AT),
        (received(signature=A_GOOD.replace("v1,", "v2,")), A_AT),
        (received(signature=A_GOOD.replace("v1,", "v1a,")), A_AT),
        (received(signature=C_GOOD.replace("v1a,", "v1,")), A_AT),
        (received(id="msg_other"), A_AT),
        (received(timestamp=str(A_AT + 1)), A_AT),
    ],
)
def test_refused(headers: dict[str, str], now_s: int) -> None:
    with pytest.raises(Rejected) as refusal:
        verify([parse_key(A_SECRET)], headers, A_BODY, now_s)
    assert refusal.value.reason == "bad-signature"


def test_another_body_is_refused() -> None:
    with pytest.raises(Rejected):
        verify([parse_key(A_SECRET)], received(), A_BODY.replace(b" ", b""), A_AT)
    with pytest.raises(Rejected):
        verify([parse_key(C_PUBLIC)], received(signature=C_GOOD), A_BODY + b" ", A_AT)


def test_the_public_key_verifies_and_signs_nothing() -> None:
    verify([parse_key(C_PUBLIC)], received(signature=C_GOOD), A_BODY, A_AT)
    with pytest.raises(Rejected):
        signing_key(C_PUBLIC)


def test_while_keys_rotate_either_verifies() -> None:
    new, old = secret_text(bytes(24)), secret_text(bytes(64))
    at_s = int(time.time())
    made = standard_webhooks.headers([signing_key(new), signing_key(old)], A_ID, at_s, A_BODY)
    assert len(made["webhook-signature"].split(" ")) == 2
    for secret in (new, old):
        assert Webhook(secret).verify(A_BODY, made) == json.loads(A_BODY)
        verify([parse_key(secret)], made, A_BODY, at_s)


@given(st.binary(min_size=24, max_size=64), st.text(max_size=200))
def test_another_library_verifies_what_we_sign_and_we_what_it_signs(key: bytes, text: str) -> None:
    secret = secret_text(key)
    body = payload("m1", "a.b_c", 1_767_225_600_000, {"text": text}).encode()
    at_s = int(time.time())
    made = standard_webhooks.headers([signing_key(secret)], "m1", at_s, body)
    assert Webhook(secret).verify(body, made)["data"]["text"] == text
    theirs = Webhook(secret).sign("m1", datetime.fromtimestamp(at_s, UTC), body.decode())
    verify([parse_key(secret)], made | {"webhook-signature": theirs}, body, at_s)


@pytest.mark.parametrize("secret", ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwBr"])
def test_padding_may_be_missing(secret: str) -> None:
    assert len(parse_key(secret).private) in (23, 25)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_ü",
        "whsec_a b",
        "whsk_AAAA",
        "whpk_AAAA",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
)
def test_secrets_that_sign_nothing(secret: str) -> None:
    with pytest.raises(Rejected) as refusal:
        signing_key(secret)
    assert refusal.value.reason == "bad-secret"
    assert not secret or secret not in refusal.value.detail


def test_a_key_shows_nothing_of_itself() -> None:
    shown = repr(parse_key(A_SECRET)) + str(parse_key(C_PRIVATE))
    assert "31f290" not in shown and "\\x" not in shown and A_SECRET[6:] not in shown


@pytest.mark.parametrize("id", ["", "a.b", "a b", "ü", "a\n", "a" * 257])
def test_an_id_that_could_be_read_otherwise_is_refused(id: str) -> None:
    with pytest.raises(Rejected):
        standard_webhooks.headers([parse_key(A_SECRET)], id, A_AT, b"")


def test_the_schedule_is_the_specifications() -> None:
    """Cumulative: 0, 5 s, 5:05, 35:05, 2:35:05, 7:35:05, 17:35:05, 31:35:05, 51:35:05, 75:35:05."""
    delays = [delay_ms(SCHEDULE_MS, failures, 0) for failures in range(11)]
    assert delays.pop() is None
    sums = [sum(delay or 0 for delay in delays[: count + 1]) // 1000 for count in range(10)]
    assert sums == [0, 5, 305, 2105, 9305, 27305, 63305, 113705, 185705, 272105]


@given(st.integers(0, 9), st.integers(0, standard_webhooks.JITTERS - 1))
def test_jitter_only_adds_and_at_most_a_tenth(failures: int, jitter: int) -> None:
    delay = delay_ms(SCHEDULE_MS, failures, jitter)
    assert delay is not None
    assert SCHEDULE_MS[failures] <= delay <= SCHEDULE_MS[failures] * 11 // 10


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (0, "failed"),
        (100, "failed"),
        (301, "failed"),
        (302, "failed"),
        (308, "failed"),
        (400, "failed"),
        (404, "failed"),
        (410, "gone"),
        (429, "failed"),
        (500, "failed"),
    ],
)
def test_what_a_status_means(status: int, meaning: str) -> None:
    assert standard_webhooks.outcome(status) == meaning


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        (None, 0),
        ("", 0),
        ("120", 120_000),
        (" 7 ", 7_000),
        ("999999999", 86_400_000),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("Thu, 25 Feb 2021 15:02:20 GMT", 10_000),
        ("Thu, 25 Feb 2021 15:02:00 GMT", 0),
        ("Thu, 25 Feb 2031 15:02:00 GMT", 86_400_000),
        ("Thu, 99 Feb 2021 15:02:20 GMT", 0),
    ],
)
def test_retry_after(value: str | None, wait_ms: int) -> None:
    assert retry_after_ms(value, A_AT) == wait_ms
