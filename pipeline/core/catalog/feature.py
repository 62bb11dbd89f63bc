"""Features: what is sold, and which usage of which meter is a feature's usage.

Owns: what the definition of a feature holds, deciding feature.*. Does not own: who is entitled to it
(quota.entitlement), its cost (billing). A feature never changes but for its end: archiving cannot be undone, and frees
its key.

Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` FeatureCreateInputs, `openmeter/productcatalog/feature`
for the sentences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import FEATURE, FEATURE_KEY, METER
from pipeline.core.values import number, ulid
from pipeline.core.values.filters import filter_string
from pipeline.errors import Rejected

MAX_KEY = 64
MAX_FILTERS = 50
AGGREGATIONS = ("SUM", "COUNT", "UNIQUE_COUNT", "LATEST")  # of meters that a feature may have
TOKEN_TYPES = ("input", "output", "cache_read", "cache_write", "reasoning")

_MEMBERS = (
    "key", "name", "meterSlug", "meterGroupByFilters", "advancedMeterGroupByFilters", "metadata", "unitCost",
)  # fmt: skip
_OF_METER = ("meterId", "meterAggregation")
_WRITTEN = ("id", "createdAt", "updatedAt", "deletedAt", "archivedAt")
_LLM = (
    "provider",
    "model",
    "tokenType",
)  # each static, or read from the group-by key that `...Property` names


class UnitCost(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a unit of usage costs: manual: `amount`, plain decimal text; llm: by provider, model and token type.

    Each of these three is either fixed or read from the group-by key that `..._property` names.
    """

    type: Literal["manual", "llm"]
    amount: str | None = None
    provider: str | None = None
    provider_property: str | None = None
    model: str | None = None
    model_property: str | None = None
    token_type: str | None = None
    token_type_property: str | None = None

    @property
    def columns(self) -> set[str]:
        """The group-by keys that it reads."""
        columns = (self.provider_property, self.model_property, self.token_type_property)
        return {column for column in columns if column is not None}


class Feature(DefinitionBody, frozen=True, kw_only=True):
    """A feature, archived ones too. id: a ULID. Instants are RFC 3339 in UTC with milliseconds.

    meter_slug: of its meter; None: it is a flag. meter_id, meter_aggregation: of that meter, since another one may have
    the slug once the feature is archived; None in features that were stored without them. At most one form of the
    filters is there: plain {group-by key: value}, or advanced {group-by key: FilterString} (see values.filters).
    """

    kind = FEATURE

    id: str
    key: str
    name: str
    meter_slug: str | None = None
    meter_group_by_filters: dict[str, str] | None = None
    advanced_meter_group_by_filters: dict[str, object] | None = None
    metadata: dict[str, str] | None = None
    unit_cost: UnitCost | None = None
    created_at: str
    updated_at: str
    archived_at: str | None = None
    meter_id: int | None = None
    meter_aggregation: str | None = None

    @property
    def shown(self) -> dict[str, object]:
        """Its JSON members but for those of its meter that only we use."""
        return {name: value for name, value in self.members.items() if name not in _OF_METER}

    @property
    def filters(self) -> Mapping[str, object]:
        """The FilterString of each group-by key that has one: a plain filter is `$eq`."""
        if self.meter_group_by_filters is not None:
            return {name: {"$eq": value} for name, value in self.meter_group_by_filters.items()}
        return self.advanced_meter_group_by_filters or {}

    @property
    def columns_used(self) -> set[str]:
        """The group-by keys of its meter that the feature cannot do without."""
        return set(self.filters) | (set() if self.unit_cost is None else self.unit_cost.columns)


class _Meter(msgspec.Struct, frozen=True, rename="camel"):
    """What a feature asks of a stored meter, whose package is above this one."""

    slug: str
    aggregation: str
    meter_id: int
    group_by: dict[str, str] = {}


def create(context: CommandContext) -> Decided:
    """feature.create: a new feature.

    Raises:
        Rejected: `bad-feature`; `feature-conflict` while another feature has the key and is not archived.
    """
    sent = BodyReader(FEATURE, context.body, _MEMBERS, _WRITTEN)
    key = sent.slug("key", MAX_KEY)
    if ulid.is_ulid(key):
        sent.refuse("Feature key cannot be a valid ULID")
    meter = _meter(context, sent)
    name = sent.required("name", 256)
    plain, advanced = _filters(sent, meter)
    feature = Feature(
        id=context.id(),
        key=key,
        name=name,
        meter_slug=None if meter is None else meter.slug,
        meter_group_by_filters=plain,
        advanced_meter_group_by_filters=advanced,
        metadata=sent.metadata(),
        unit_cost=_unit_cost(sent, _columns(meter)),
        created_at=context.now,
        updated_at=context.now,
        meter_id=None if meter is None else meter.meter_id,
        meter_aggregation=None if meter is None else meter.aggregation,
    )
    if (other := context.index.one(context.namespace, FEATURE_KEY, key)) is not None:
        raise Rejected("feature-conflict", f"feature {other} with key {key} already exists")
    return Decided([DefinitionChange(FEATURE, feature.id, feature)], feature.shown)


def archive(context: CommandContext) -> Decided:
    """feature.archive: existing entitlements to it go on, new ones are refused. Archiving twice changes nothing.

    Raises:
        Rejected: `not-found`.
    """
    wanted = BodyReader(FEATURE, context.body, ("id",)).required("id", 256)
    feature = context.index.find_by(Feature, context.namespace, FEATURE_KEY, wanted)
    if feature is None:
        raise Rejected("not-found", f"feature not found: {wanted}")
    if feature.archived_at is not None:
        return Decided([], feature.shown)
    meter = None if feature.meter_slug is None else _find_meter(context, feature.meter_slug)
    if (
        feature.meter_id is None and meter is not None
    ):  # it was stored without; its meter can be deleted from now on
        feature = feature.changed(meter_id=meter.meter_id, meter_aggregation=meter.aggregation)
    archived = feature.changed(archived_at=context.now, updated_at=context.now)
    return Decided([DefinitionChange(FEATURE, feature.id, archived)], archived.shown)


def _find_meter(context: CommandContext, slug: str) -> _Meter | None:
    """The meter in force with a slug."""
    body = context.index.body(context.namespace, METER, slug)
    return None if body is None else msgspec.convert(body, _Meter)


def _meter(context: CommandContext, sent: BodyReader) -> _Meter | None:
    slug = sent.text("meterSlug", 64)
    if slug is None:
        return None
    meter = _find_meter(context, slug)
    if meter is None:
        sent.refuse(f"meter not found: {slug}")
    if meter.aggregation not in AGGREGATIONS:
        sent.refuse(
            f"meter {slug}'s aggregation is {meter.aggregation} but features can only be created for "
            f"{', '.join(AGGREGATIONS)}"
        )
    return meter


def _columns(meter: _Meter | None) -> list[str]:
    return [] if meter is None else sorted(meter.group_by)


def _filters(
    sent: BodyReader, meter: _Meter | None
) -> tuple[dict[str, str] | None, dict[str, object] | None]:
    """The plain and the advanced filters, of which one at most is set. Empty ones are none."""
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
    return plain or None, dict(advanced) if advanced else None


def _unit_cost(sent: BodyReader, columns: list[str]) -> UnitCost | None:
    nested = sent.nested("unitCost")
    if nested is None:
        return None
    kind = nested.get("type")
    if kind == "manual":
        return UnitCost("manual", _amount(BodyReader(FEATURE, nested, ("type", "amount"))))
    if kind != "llm":
        sent.refuse(f"invalid unit cost type: {ascii(kind)[:64]}")
    parts = BodyReader(FEATURE, nested, ("type", *_LLM, *(f"{name}Property" for name in _LLM)))
    return UnitCost("llm", None, *(value for name in _LLM for value in _part(parts, name, columns)))


def _part(parts: BodyReader, name: str, columns: list[str]) -> tuple[str | None, str | None]:
    """The fixed value of a part of an LLM's unit cost, or the group-by key that it is read from."""
    fixed, column = parts.text(name, 256), parts.text(f"{name}Property", 64)
    if fixed is None and column is None:
        parts.refuse(f"either {name}Property or {name} is required for LLM unit cost")
    if fixed is not None and column is not None:
        parts.refuse(f"{name}Property and {name} are mutually exclusive")
    if column is not None and column not in columns:
        parts.refuse(f"{name}Property {column!a} not found in meter group-by keys")
    if name == "tokenType" and fixed is not None and fixed not in TOKEN_TYPES:
        parts.refuse(f"invalid tokenType {fixed!a}: expected one of {', '.join(TOKEN_TYPES)}")
    return fixed, column


def _amount(parts: BodyReader) -> str:
    amount = parts.required("amount", 64)
    try:
        scaled = number.parse(amount)
    except Rejected as refusal:
        parts.refuse(f"manual unit cost amount is not valid: {refusal.detail}")
    if scaled < 0:
        parts.refuse("manual unit cost amount must be non-negative")
    return number.text(scaled)
