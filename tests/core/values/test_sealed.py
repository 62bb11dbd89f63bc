"""Sealed secrets: what opens them, and what does not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.values.sealed import PREFIX, Seal
from pipeline.errors import Broken, Rejected

OLD, NEW = base64.b64encode(bytes(32)).decode(), base64.b64encode(bytes(range(32))).decode()
NONCE = bytes(12)


@given(st.text(max_size=100), st.binary(min_size=12, max_size=12))
def test_what_was_sealed_opens_in_its_place_only(secret: str, nonce: bytes) -> None:
    seal = Seal.of(NEW)
    text = seal.close(secret, "acme/endpoint", nonce)
    assert text.startswith(PREFIX)
    assert seal.open(text, "acme/endpoint") == secret
    with pytest.raises(Rejected):
        seal.open(text, "other/endpoint")


def test_the_secret_is_not_in_the_sealed_text() -> None:
    text = Seal.of(NEW).close("whsec_" + "A" * 32, "p", NONCE)
    assert "whsec_" not in text and "AAAA" not in base64.b64decode(text.rpartition(":")[2]).decode("latin-1")


def test_keys_turn() -> None:
    old = Seal.of(OLD).close("s", "p", NONCE)
    turned = Seal.of(f"{NEW},{OLD}")
    assert turned.open(old, "p") == "s"
    new = turned.close("s", "p", NONCE)
    assert Seal.of(NEW).open(new, "p") == "s"
    with pytest.raises(Rejected, match="does not hold the key"):
        Seal.of(OLD).open(new, "p")


def test_without_a_key_nothing_is_sealed_and_what_is_sealed_stays_shut() -> None:
    assert Seal.of("").close("s", "p", b"") == "s"
    assert Seal.of(NEW).open("whsec_plain", "p") == "whsec_plain"
    with pytest.raises(Rejected):
        Seal.of("").open(Seal.of(NEW).close("s", "p", NONCE), "p")


@pytest.mark.parametrize("change", [lambda t: t[:-4] + "AAA=", lambda t: t + "A", lambda t: t[:40]])
def test_a_changed_text_does_not_open(change) -> None:  # type: ignore[no-untyped-def]
    seal = Seal.of(NEW)
    with pytest.raises(Rejected):
        seal.open(change(seal.close("secret", "p", NONCE)), "p")


def test_keys_and_nonces_have_their_length_and_no_repr_shows_them() -> None:
    with pytest.raises(Rejected):
        Seal.of(base64.b64encode(bytes(16)).decode())
    with pytest.raises(Broken):
        Seal.of(NEW).close("s", "p", b"short")
    assert repr(Seal.of(NEW)) == "Seal()"
