"""The body of every webhook: an envelope around what depends on the type of the event.

Owns: the envelope. Does not own: its data (balance_events, volume_alerts, invoice_events, sample_alert), signatures
(standard_webhooks).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from pipeline.core.values import timestamp
from pipeline.errors import Rejected

_encode = msgspec.json.Encoder().encode
_TYPE = re.compile(r"[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*").fullmatch


def payload(id: str, type: str, at_ms: int, data: Mapping[str, object]) -> str:
    """A webhook's body: {id, type, timestamp, data}.

    Args:
        id: of the event.
        type: words of letters, digits and _ with dots between them.
        at_ms: when it happened, in milliseconds since 1970.
        data: what depends on the type.

    Raises:
        Rejected: `bad-webhook-type`.

    Source: standard-webhooks/spec/standard-webhooks.md, "Payload structure".
    """
    if _TYPE(type) is None:
        raise Rejected("bad-webhook-type", "A type is words of letters, digits and _ with dots between them.")
    members = {"id": id, "type": type, "timestamp": timestamp.text_of(at_ms), "data": data}
    return _encode(members).decode()
