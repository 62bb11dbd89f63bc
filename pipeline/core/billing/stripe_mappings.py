"""The definitions that a sync of usage with Stripe needs, as they were read: mappings, apps, customers' ids.

Owns: which mappings a meter has, whether one may be sent, under which id Stripe has a customer. Does not own: the
definitions themselves (stripe_meter, app, customer_app), the keys of apps (agents.stripe_accounts).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple

from pipeline.core.billing.app import App, StripeApp
from pipeline.core.billing.customer_app import CustomerApp
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.definitions.changes import Changes
from pipeline.core.metering.meter import Meter
from pipeline.core.values import number
from pipeline.core.values.timestamp import ms_of

HOUR_S, DAY_S = 3_600, 86_400

NameInNamespace = tuple[str, str]  # namespace and id
TouchedKind = Literal["mapping", "app", "customer"]


class Touched(NamedTuple):
    """A definition that changed. name: the id of a mapping, an app, or a customer."""

    kind: TouchedKind
    namespace: str
    name: str


class Mapping(NamedTuple):
    """A mapping in force.

    Attributes:
        meter: slug of the meter.
        meter_id: the number of the meter in windows; 0 while no such meter is known.
        window_s: seconds of one window.
        multiplier: units of Stripe for one unit of usage, in atto.
        dimensions: (group-by key of the meter, member of the payload), sorted.
        from_s: start of the first window that is sent.
        revision: of its definition.
    """

    namespace: str
    id: str
    app: str
    meter: str
    meter_id: int
    event_name: str
    stripe_meter: str
    customer_key: str
    value_key: str
    window_s: int
    multiplier: int
    dimensions: tuple[tuple[str, str], ...]
    from_s: int
    revision: int
    is_deleted: bool

    def start_of(self, at_s: int) -> int:
        """The start of the window that has an instant."""
        return at_s // self.window_s * self.window_s


class AppInForce(NamedTuple):
    """ready: usage may be sent to it. revision: of its definition."""

    ready: bool
    is_deleted: bool
    revision: int


class StripeCustomer(NamedTuple):
    """id: Stripe's. revision: of the definition that names it."""

    id: str
    revision: int


class StripeDefinitions:
    """The definitions that were read so far. `update` is called by one thread at a time."""

    def __init__(self) -> None:
        self._bodies: dict[NameInNamespace, tuple[StripeMeter, int]] = {}
        self._meters: dict[NameInNamespace, Meter] = {}  # by namespace and slug
        self._apps: dict[NameInNamespace, AppInForce] = {}
        self._customers: dict[tuple[str, str, str], StripeCustomer] = {}  # namespace, customer, app
        self._names: dict[NameInNamespace, tuple[str, str, str]] = {}  # of a customer-app definition
        self._mappings: dict[NameInNamespace, Mapping] = {}
        self._by_meter: dict[int, tuple[Mapping, ...]] = {}

    @property
    def meters(self) -> frozenset[int]:
        """The numbers of all meters with a mapping in force."""
        return frozenset(self._by_meter)

    def of_meter(self, meter_id: int) -> tuple[Mapping, ...]:
        """The mappings in force of a meter."""
        return self._by_meter.get(meter_id, ())

    def mapping(self, namespace: str, id: str) -> Mapping | None:
        """A mapping, also one that was deleted."""
        return self._mappings.get((namespace, id))

    def in_force(self) -> list[Mapping]:
        """Every mapping whose meter is known and that was not deleted."""
        return [mapping for mappings in self._by_meter.values() for mapping in mappings]

    def app(self, namespace: str, id: str) -> AppInForce | None:
        """An app, also one that was uninstalled."""
        return self._apps.get((namespace, id))

    def customer(self, namespace: str, customer: str, app: str) -> StripeCustomer | None:
        """What the app knows of a customer; None: nothing."""
        return self._customers.get((namespace, customer, app))

    def update(self, changes: Changes) -> list[Touched]:
        """Apply changes. Returns which definitions have changed."""
        touched = [*self._update_apps(changes), *self._update_customers(changes)]
        is_changed = False
        for namespace, slug, meter, _ in changes.of(Meter):
            is_changed = True
            if meter is None:
                self._meters.pop((namespace, slug), None)
            else:
                self._meters[namespace, slug] = meter
        for namespace, id, body, revision in changes.of(StripeMeter):
            is_changed = True
            if body is None:
                self._bodies.pop((namespace, id), None)
            else:
                self._bodies[namespace, id] = (body, revision)
            touched.append(Touched("mapping", namespace, id))
        if is_changed:
            self._resolve()
        return touched

    def _update_apps(self, changes: Changes) -> Iterable[Touched]:
        for namespace, id, app, revision in changes.of(App):
            if not isinstance(app, StripeApp):
                self._apps.pop((namespace, id), None)
            else:
                ready = app.status == "ready" and not app.is_deleted
                self._apps[namespace, id] = AppInForce(ready, app.is_deleted, revision)
            yield Touched("app", namespace, id)

    def _update_customers(self, changes: Changes) -> Iterable[Touched]:
        for namespace, name, body, revision in changes.of(CustomerApp):
            before = self._names.pop((namespace, name), None)
            if before is not None:
                self._customers.pop(before, None)
            if body is not None and not body.is_deleted:
                place = self._names[namespace, name] = (namespace, body.customer_id, body.app_id)
                self._customers[place] = StripeCustomer(body.stripe_customer_id, revision)
                yield Touched("customer", namespace, body.customer_id)
            elif before is not None:
                yield Touched("customer", namespace, before[1])

    def _resolve(self) -> None:
        """Find the meter of each mapping: a meter that was made again under its slug is another one."""
        by_meter: defaultdict[int, list[Mapping]] = defaultdict(list)
        self._mappings = {}
        for (namespace, id), (body, revision) in sorted(self._bodies.items()):
            meter = self._meters.get((namespace, body.meter_slug))
            is_same = meter is not None and body.meter_id in (meter.id, str(meter.meter_id))
            mapping = mapping_of(namespace, body, revision, meter.meter_id if meter and is_same else 0)
            self._mappings[namespace, id] = mapping
            if mapping.meter_id and not mapping.is_deleted:
                by_meter[mapping.meter_id].append(mapping)
        self._by_meter = {meter_id: tuple(mappings) for meter_id, mappings in by_meter.items()}


def mapping_of(namespace: str, body: StripeMeter, revision: int, meter_id: int) -> Mapping:
    """A definition as a mapping in force.

    Args:
        namespace: of the definition.
        body: of the definition.
        revision: of the definition.
        meter_id: the number of its meter; 0: unknown.
    """
    window_s = HOUR_S if body.window == "HOUR" else DAY_S
    return Mapping(
        namespace=namespace,
        id=body.id,
        app=body.app_id,
        meter=body.meter_slug,
        meter_id=meter_id,
        event_name=body.event_name,
        stripe_meter=body.stripe_meter_id,
        customer_key=body.customer_key,
        value_key=body.value_key,
        window_s=window_s,
        multiplier=number.exact(body.multiplier),
        dimensions=tuple(sorted((body.dimensions or {}).items())),
        from_s=-(-ms_of(body.from_at) // (window_s * 1_000)) * window_s,
        revision=revision,
        is_deleted=body.is_deleted,
    )
