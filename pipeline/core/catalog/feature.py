"""Features: what is sold, and which usage of which meter it stands for.

Owns: a feature's rules, deciding feature.*. Does not own: who is entitled to it (quota.entitlement), its cost
(billing). A feature never changes but for its end: archiving is one-way, and frees its key. Rules and texts:
OpenMeter's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import Body, CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import FEATURE_KEY
from pipeline.core.values import number, ulid
from pipeline.core.values.filters import filter_string
from pipeline.errors import Rejected

KIND = "feature"
MAX_KEY = 64
MAX_FILTERS = 50
AGGREGATIONS = ("SUM", "COUNT", "UNIQUE_COUNT", "LATEST")  # of meters that a feature may have
TOKEN_TYPES = ("input", "output", "cache_read", "cache_write", "reasoning")

_MEMBERS = (
    "key", "name", "meterSlug", "meterGroupByFilters", "advancedMeterGroupByFilters", "metadata", "unitCost",
)  # fmt: skip
_WRITTEN = ("id", "createdAt", "updatedAt", "deletedAt", "archivedAt")
_LLM = (
    "provider",
    "model",
    "tokenType",
)  # each static, or read from the group-by key that `...Property` names


def create(context: CommandContext) -> Decided:
    """feature.create. 409 while another has the key and is not archived."""
    sent = BodyReader(KIND, context.body, _MEMBERS, _WRITTEN)
    key = sent.slug("key", MAX_KEY)
    if ulid.is_ulid(key):
        sent.refuse("Feature key cannot be a valid ULID")
    meter = _meter(context, sent)
    found = {
        "key": key,
        "name": sent.required("name", 256),
        "meterSlug": None if meter is None else meter["slug"],
        **_filters(sent, meter),
        "metadata": sent.metadata(),
        "unitCost": _unit_cost(sent, _columns(meter)),
    }
    if (holder := context.index.one(context.namespace, FEATURE_KEY, key)) is not None:
        raise Rejected("feature-conflict", f"feature {holder} with key {key} already exists")
    members = {name: value for name, value in found.items() if value is not None}
    body = {"id": context.id(), **members, "createdAt": context.now, "updatedAt": context.now}
    return Decided([DefinitionChange(KIND, str(body["id"]), body)], body)


def archive(context: CommandContext) -> Decided:
    """feature.archive: what exists by it goes on, nothing new comes by it. Archiving twice changes nothing."""
    wanted = BodyReader(KIND, context.body, ("id",)).required("id", 256)
    for id in (wanted, context.index.one(context.namespace, FEATURE_KEY, wanted)):
        body = context.index.body(context.namespace, KIND, id) if id is not None else None
        if id is not None and body is not None:
            if "archivedAt" in body:
                return Decided([], body)
            archived = {**body, "archivedAt": context.now, "updatedAt": context.now}
            return Decided([DefinitionChange(KIND, id, archived)], archived)
    raise Rejected("not-found", f"feature not found: {wanted}")


def columns_used(body: Body) -> set[str]:
    """The group-by keys of its meter that a feature cannot do without."""
    used: set[str] = set()
    for member in ("meterGroupByFilters", "advancedMeterGroupByFilters"):
        if isinstance(filters := body.get(member), dict):
            used |= set(filters)
    if isinstance(cost := body.get("unitCost"), dict):
        used |= {str(cost[f"{name}Property"]) for name in _LLM if f"{name}Property" in cost}
    return used


def _meter(context: CommandContext, sent: BodyReader) -> Body | None:
    slug = sent.text("meterSlug", 64)
    if slug is None:
        return None
    meter = context.index.body(context.namespace, "meter", slug)
    if meter is None:
        sent.refuse(f"meter not found: {slug}")
    if meter["aggregation"] not in AGGREGATIONS:
        sent.refuse(
            f"meter {slug}'s aggregation is {meter['aggregation']} but features can only be created for "
            f"{', '.join(AGGREGATIONS)}"
        )
    return meter


def _columns(meter: Body | None) -> list[str]:
    group_by = None if meter is None else meter.get("groupBy")
    return sorted(cast(Mapping[str, str], group_by)) if isinstance(group_by, Mapping) else []


def _filters(sent: BodyReader, meter: Body | None) -> Body:
    """Either form of the filters, as sent. Empty ones are none."""
    plain = sent.strings("meterGroupByFilters", MAX_FILTERS, 64, 1024)
    advanced = sent.nested("advancedMeterGroupByFilters")
    if plain and advanced:
        sent.refuse("only one of meterGroupByFilters and advancedMeterGroupByFilters can be set")
    if advanced and len(advanced) > MAX_FILTERS:
        sent.refuse(f"feature advancedMeterGroupByFilters must have at most {MAX_FILTERS} members")
    columns = _columns(meter)
    if unknown := [key for key in (plain or advanced or ()) if key not in columns]:
        sent.refuse(
            f"invalid filters for feature: {ascii(unknown[0])[:64]}, available columns: {', '.join(columns)}"
        )
    for key, body in (advanced or {}).items():
        try:
            filter_string(f"feature advancedMeterGroupByFilters {key}", body)
        except Rejected as refusal:
            sent.refuse(refusal.detail)
    found: Body = {}
    if plain:
        found["meterGroupByFilters"] = plain
    if advanced:
        found["advancedMeterGroupByFilters"] = dict(advanced)
    return found


def _unit_cost(sent: BodyReader, columns: list[str]) -> Body | None:
    nested = sent.nested("unitCost")
    if nested is None:
        return None
    kind = nested.get("type")
    if kind == "manual":
        parts = BodyReader(KIND, nested, ("type", "amount"))
        return {"type": kind, "amount": _amount(parts)}
    if kind != "llm":
        sent.refuse(f"invalid unit cost type: {ascii(kind)[:64]}")
    parts = BodyReader(KIND, nested, ("type", *_LLM, *(f"{name}Property" for name in _LLM)))
    found: Body = {"type": kind}
    for name in _LLM:
        fixed, column = parts.text(name, 256), parts.text(f"{name}Property", 64)
        if fixed is None and column is None:
            sent.refuse(f"either {name}Property or {name} is required for LLM unit cost")
        if fixed is not None and column is not None:
            sent.refuse(f"{name}Property and {name} are mutually exclusive")
        if column is not None and column not in columns:
            sent.refuse(f"{name}Property {column!a} not found in meter group-by keys")
        if name == "tokenType" and fixed is not None and fixed not in TOKEN_TYPES:
            sent.refuse(f"invalid tokenType {fixed!a}: expected one of {', '.join(TOKEN_TYPES)}")
        found[name if column is None else f"{name}Property"] = fixed if column is None else column
    return found


def _amount(parts: BodyReader) -> str:
    amount = parts.required("amount", 64)
    try:
        scaled = number.parse(amount)
    except Rejected as refusal:
        parts.refuse(f"manual unit cost amount is not valid: {refusal.detail}")
    if scaled < 0:
        parts.refuse("manual unit cost amount must be non-negative")
    return number.text(scaled)
