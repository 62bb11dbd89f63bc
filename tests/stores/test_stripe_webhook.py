"""Signatures of Stripe's webhooks: one of two secrets, five minutes in both directions, every other header refused."""

from __future__ import annotations

import pytest
import stripe

from pipeline.errors import Rejected
from pipeline.stores.stripe_webhook import TOLERANCE_S, verify

BODY = b'{"id":"evt_1","name":"\xc3\xa9"}'
NOW_S = 1_800_000_000
OLD, NEW = "whsec_old", "whsec_new"


def header(secret: str = OLD, at_s: int = NOW_S, body: bytes = BODY) -> str:
    return stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at_s)


def both(at_s: int = NOW_S) -> str:
    """As Stripe signs while a secret is rotated."""
    return f"{header(OLD, at_s)},{header(NEW, at_s).partition(',')[2]}"


@pytest.mark.parametrize("signature", [header(OLD), header(NEW), both(), header(at_s=NOW_S - TOLERANCE_S)])
def test_either_secret_is_enough_within_five_minutes(signature: str) -> None:
    verify(BODY, signature, (OLD, NEW), NOW_S)


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_a_delivery_of_a_rotation_is_taken_before_and_after_the_secret_is_replaced(secret: str) -> None:
    verify(BODY, both(), (secret,), NOW_S)


WRONG = {
    "no header": "",
    "another secret": header("whsec_other"),
    "too old": header(at_s=NOW_S - TOLERANCE_S - 1),
    "from the future": header(at_s=NOW_S + TOLERANCE_S + 1),
    "another body": header(body=BODY + b" "),
    "another scheme": header().replace("v1=", "v0="),
    "no instant": header().partition(",")[2],
    "an instant that is none": header().replace(str(NOW_S), "now"),
    "an instant that was changed": header().replace(str(NOW_S), str(NOW_S + 1)),
    "an instant without end": header().replace(str(NOW_S), "9" * 3_000),
    "not ASCII": header() + ",v1=\xe9",
    "nothing": ",,,=,",
}


@pytest.mark.parametrize("signature", WRONG.values(), ids=WRONG)
def test_any_other_signature_is_refused(signature: str) -> None:
    with pytest.raises(Rejected) as refusal:
        verify(BODY, signature, (OLD, NEW), NOW_S)
    assert refusal.value.reason == "bad-signature"


@pytest.mark.parametrize("secrets", [(), ("",), (" ",)])
def test_an_app_without_a_secret_takes_nothing(secrets: tuple[str, ...]) -> None:
    with pytest.raises(Rejected, match="secret"):
        verify(BODY, header(""), secrets, NOW_S)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(Rejected):
        verify(b"\xff\xfe", header(), (OLD,), NOW_S)
