"""Standard Webhooks: what is signed and how, when an attempt is repeated, and what an answer means.

Owns: keys, signatures, headers, the schedule, the meaning of a status. Does not own: the body (webhook_payload), the
state of a delivery (delivery), sending (stores.webhook_http).
Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md, version 1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipeline.errors import Rejected
from pipeline.records import AttemptOutcome

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300  # a message that is older or newer is refused
MIN_KEY_BYTES, MAX_KEY_BYTES = 24, 64
SEED_BYTES = 32  # of ed25519
PAYLOAD_BYTES = 20_000  # the specification's advice; larger ones are sent all the same

# Before each try, from the try before: the specification's example. Ten tries in 75.6 hours.
SCHEDULE_S = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
SCHEDULE_MS = tuple(seconds * 1_000 for seconds in SCHEDULE_S)
JITTERS = 1_000  # a delay grows by up to a tenth, so that what failed together is not sent again together
RETRY_AFTER_MOST_MS = 24 * 3_600_000
TOO_MANY_REQUESTS, BAD_GATEWAY, SERVICE_UNAVAILABLE, GATEWAY_TIMEOUT, GONE = 429, 502, 503, 504, 410
THROTTLES = frozenset({TOO_MANY_REQUESTS, BAD_GATEWAY, SERVICE_UNAVAILABLE, GATEWAY_TIMEOUT})

_ID = re.compile(r"[!-\-/-~]{1,256}").fullmatch  # visible ASCII without the dot


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An endpoint's key. `private` signs; without it (a `whpk_` key) it can only verify. Its repr shows nothing."""

    version: str  # "v1" (HMAC-SHA256) or "v1a" (ed25519)
    private: bytes = field(default=b"", repr=False)
    public: bytes = field(default=b"", repr=False)  # v1a only

    def sign(self, signed: bytes) -> str:
        """The entry for `webhook-signature`."""
        if self.version == "v1":
            signature = hmac.digest(self.private, signed, hashlib.sha256)
        else:
            signature = Ed25519PrivateKey.from_private_bytes(self.private).sign(signed)
        return f"{self.version},{base64.b64encode(signature).decode()}"

    def verifies(self, signature: bytes, signed: bytes) -> bool:
        """Whether this key made `signature`; the comparison takes the same time for every wrong one."""
        if self.version == "v1":
            return hmac.compare_digest(hmac.digest(self.private, signed, hashlib.sha256), signature)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, signed)
        except InvalidSignature:
            return False
        return True


def parse_key(text: str) -> SigningKey:
    """Read a key as users write it.

    Args:
        text: `whsec_…`, `whsk_…`, `whpk_…`, or base64 without a prefix, which means `whsec_`; padding may be missing.

    Raises:
        Rejected: `bad-secret`; the secret is never in the sentence.
    """
    prefix, _, rest = (
        text.rpartition("_") if text.startswith(("whsec_", "whsk_", "whpk_")) else ("", "", text)
    )
    try:
        raw = base64.b64decode(rest + "=" * (-len(rest) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Rejected("bad-secret", "The secret is not base64.") from None
    if not raw:
        raise Rejected("bad-secret", "The secret is empty.")
    if prefix in ("", "whsec"):
        return SigningKey("v1", raw)
    if len(raw) not in (SEED_BYTES, 2 * SEED_BYTES) or (prefix == "whpk" and len(raw) != SEED_BYTES):
        raise Rejected("bad-secret", f"An ed25519 key has {SEED_BYTES} bytes.")
    if prefix == "whpk":
        return SigningKey("v1a", b"", raw)
    seed = raw[:SEED_BYTES]
    return SigningKey("v1a", seed, Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())


def signing_key(text: str) -> SigningKey:
    """As `parse_key`, for an endpoint: a private key of a length that the specification allows."""
    key = parse_key(text)
    if not key.private:
        raise Rejected("bad-secret", "A public key (whpk_) signs nothing; give the private one (whsk_).")
    if key.version == "v1" and not MIN_KEY_BYTES <= len(key.private) <= MAX_KEY_BYTES:
        raise Rejected(
            "bad-secret", f"The secret has {len(key.private)} bytes, not {MIN_KEY_BYTES} to {MAX_KEY_BYTES}."
        )
    return key


def secret_text(random: bytes) -> str:
    """`whsec_…` of 24 to 64 random bytes."""
    if not MIN_KEY_BYTES <= len(random) <= MAX_KEY_BYTES:
        raise Rejected("bad-secret", f"A secret is made of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes.")
    return "whsec_" + base64.b64encode(random).decode()


def headers(keys: Sequence[SigningKey], id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt.

    Args:
        keys: that sign; two of them while one replaces the other.
        id: the `webhook-id`.
        timestamp_s: now, in seconds since 1970.
        body: that is sent.

    Raises:
        Rejected: `bad-webhook-id` for an id with a dot or a character that a header cannot have, `bad-secret` without
            keys.
    """
    if _ID(id) is None:
        raise Rejected("bad-webhook-id", "A webhook's id is 1 to 256 visible ASCII characters without a dot.")
    if not keys:
        raise Rejected("bad-secret", "There is no key to sign with.")
    signed = _signed(id, str(timestamp_s), body)
    signatures = " ".join(key.sign(signed) for key in keys)
    return {ID: id, TIMESTAMP: str(timestamp_s), SIGNATURE: signatures}


def verify(keys: Iterable[SigningKey], received: Mapping[str, str], body: bytes, now_s: int) -> None:
    """Check a message as a receiver must.

    Args:
        keys: one of them must have signed it.
        received: its headers, names in any case.
        body: as received.
        now_s: seconds since 1970.

    Raises:
        Rejected: `bad-signature`.
    """
    lower = {name.lower(): value for name, value in received.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not lower.get(name)]
    if missing:
        raise Rejected("bad-signature", f"The header {missing[0]} is missing.")
    if not re.fullmatch(r"[0-9]{1,15}", lower[TIMESTAMP]):
        raise Rejected("bad-signature", "The timestamp is not a number of seconds.")
    if abs(int(lower[TIMESTAMP]) - now_s) > TOLERANCE_S:
        raise Rejected("bad-signature", f"The timestamp is more than {TOLERANCE_S} s away from now.")
    signed = _signed(lower[ID], lower[TIMESTAMP], body)
    signatures = [entry.partition(",") for entry in lower[SIGNATURE].split(" ")]
    expected = list(keys)
    for version, _, encoded in signatures:
        try:
            signature = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            continue
        if signature and any(key.version == version and key.verifies(signature, signed) for key in expected):
            return
    raise Rejected("bad-signature", "No signature is right.")


def _signed(id: str, timestamp: str, body: bytes) -> bytes:
    return f"{id}.{timestamp}.".encode() + body


def delay_ms(schedule_ms: Sequence[int], failures: int, jitter: int) -> int | None:
    """How long to wait before the next attempt, in milliseconds.

    Args:
        schedule_ms: the delay before each attempt.
        failures: how many attempts have failed.
        jitter: from 0 up to JITTERS, given by the caller, so that the same failure always waits as long.

    Returns:
        None if there is no further attempt.
    """
    if failures >= len(schedule_ms):
        return None
    return schedule_ms[failures] + schedule_ms[failures] * jitter // (10 * JITTERS)


def outcome(status: int) -> AttemptOutcome:
    """What an HTTP status means. A redirect is a failure: it is not followed."""
    if 200 <= status < 300:
        return "delivered"
    return "gone" if status == GONE else "failed"


def retry_after_ms(value: str | None, now_s: int) -> int:
    """Read a `Retry-After` header.

    Args:
        value: seconds, or a date; None: there is no such header.
        now_s: seconds since 1970.

    Returns:
        Milliseconds from now, a day at most; 0 if it is absent or not valid.

    Source: RFC 9110, section 10.2.3.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,10}", text):
        return min(int(text) * 1_000, RETRY_AFTER_MOST_MS)
    try:
        at_s = int(parsedate_to_datetime(text).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0
    return max(0, min((at_s - now_s) * 1_000, RETRY_AFTER_MOST_MS))
