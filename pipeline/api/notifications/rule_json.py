"""A rule as the API shows it.

Owns: the members and their form. Does not own: what they mean (core.notifications.rule).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.core.notifications.endpoint import TYPE
from pipeline.core.values.json_number import plain


def rule_json(body: Mapping[str, Any]) -> dict[str, Any]:
    """Channels with their type, amounts as exact JSON numbers."""
    shown = {**body, "channels": [{"id": id, "type": TYPE} for id in body["channels"]]}
    if "thresholds" in body:
        shown["thresholds"] = [
            {"type": one["type"], "value": plain(one["value"])} for one in body["thresholds"]
        ]
    if "limit" in body:
        shown["limit"] = plain(body["limit"])
    return shown
