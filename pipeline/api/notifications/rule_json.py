"""A rule as the API shows it.

Owns: the members and their form. Does not own: what they mean (core.notifications.rule).
"""

from __future__ import annotations

from typing import Any

from pipeline.core.notifications.endpoint import TYPE
from pipeline.core.notifications.rule import BalanceRule, CreditRule, Rule, VolumeRule
from pipeline.core.values.json_number import plain


def rule_json(rule: Rule) -> dict[str, Any]:
    """Channels with their type, amounts as exact JSON numbers."""
    shown = {**rule.members, "channels": [{"id": id, "type": TYPE} for id in rule.channels]}
    if isinstance(rule, BalanceRule):
        shown["thresholds"] = [{"type": one.type, "value": plain(one.value)} for one in rule.thresholds]
    if isinstance(rule, CreditRule):
        shown["threshold"] = plain(rule.threshold)
    if isinstance(rule, VolumeRule):
        shown["limit"] = plain(rule.limit)
        shown.pop("meterId", None)  # the API names meters by slug and ULID
    return shown
