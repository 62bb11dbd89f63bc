"""What each command about a subscription changes.

Owns: which function decides which command, and the rules that bind the subscriptions of one customer together. Does not
own: the members of bodies (the `..._reading` modules), what each change is (from_plan, edit, cancel, change,
subscription_addons), where subscriptions are stored, repeated commands, replies (the billing stage).

All commands of a customer are decided one after the other by one writer, so of two that begin a subscription at the
same time the second is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pipeline.core.catalog.addon import Addon
from pipeline.core.catalog.catalog_now import CatalogNow
from pipeline.core.catalog.plan_addon import PlanAddon
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.body import BodyReader
from pipeline.core.subscriptions import cancel, change, edit, subscription_addons
from pipeline.core.subscriptions.addon_reading import read_purchase, read_purchase_change
from pipeline.core.subscriptions.change import Succession
from pipeline.core.subscriptions.edit_reading import read_edit
from pipeline.core.subscriptions.entitlements import check_entitlements
from pipeline.core.subscriptions.from_plan import create
from pipeline.core.subscriptions.one_at_a_time import check_items, check_single
from pipeline.core.subscriptions.order_reading import SUBSCRIPTION, read_change, read_create, read_migration
from pipeline.core.subscriptions.subscription import Subscription
from pipeline.core.subscriptions.timing_reading import read_timing
from pipeline.core.values import ulid
from pipeline.errors import Rejected
from pipeline.records import Command

ENDING = ("subscription.cancel", "subscription.delete")  # allowed for a customer that is deleted


class SubscriptionDecision(NamedTuple):
    """What a command changed.

    Attributes:
        changed: the subscriptions as the command leaves them, deleted ones too; none if nothing is different.
        body: members of the reply: `subscription`, or `current` and `next`; also `addon`, the id of a purchase.
    """

    changed: tuple[Subscription, ...]
    body: dict[str, object]


class SubscriptionCommand(NamedTuple):
    """A command with all that it is decided on.

    Attributes:
        command: its body has `sent`, the client's JSON; `id` of a subscription, and `addon` of a purchase or an add-on,
            if the path names them.
        customer: whose subscription it is.
        subscriptions: all of the customer, deleted and past ones too.
        catalog: at the time of the command's record.
        now_ms: that time, in ms since 1970.
    """

    command: Command
    customer: Customer
    subscriptions: Sequence[Subscription]
    catalog: CatalogNow
    now_ms: int

    @property
    def now_s(self) -> int:
        return self.now_ms // 1000

    @property
    def sent(self) -> Mapping[str, object]:
        """The client's JSON; empty without a body."""
        sent = self.command.body.get("sent")
        return sent if isinstance(sent, Mapping) else {}

    def named(self) -> Subscription:
        """The subscription that the path names. Raises Rejected `not-found`, also for a deleted one."""
        id = self.command.body.get("id")
        found = next((one for one in self.subscriptions if one.id == id and not one.is_deleted), None)
        if found is None:
            raise Rejected("not-found", f"There is no subscription with the id {str(id)[:64]}.")
        return found

    def new_id(self, name: str) -> str:
        """The id of a thing that the command makes, by its name: a replay makes the same."""
        return ulid.make(self.now_ms, f"{self.command.namespace}/{self.command.id}/{name}")


def decide_subscription(
    command: Command,
    customer: Customer,
    subscriptions: Sequence[Subscription],
    catalog: CatalogNow,
    now_ms: int,
) -> SubscriptionDecision:
    """Decide a command `subscription.*`. Arguments are as in SubscriptionCommand.

    Raises:
        Rejected: `bad-command` for another kind; `customer_deleted`; the reasons of the function that decides it.
    """
    decider = DECIDERS.get(command.kind)
    if decider is None:
        raise Rejected("bad-command", f"There is no command {command.kind[:64]!r}.")
    if customer.deleted_at is not None and command.kind not in ENDING:
        raise Rejected("customer_deleted", "The customer is deleted.")
    return decider(SubscriptionCommand(command, customer, subscriptions, catalog, now_ms))


def _create(asked: SubscriptionCommand) -> SubscriptionDecision:
    placed = read_create(asked.sent, asked.customer, asked.catalog)
    made = create(placed.plan, placed.order, asked.now_s, asked.new_id)
    _check_together(made, asked.subscriptions, asked)
    return _one(made)


def _edit(asked: SubscriptionCommand) -> SubscriptionDecision:
    before, sent = asked.named(), read_edit(asked.sent, asked.catalog)
    edited = edit.edit(before, sent.customizations, sent.timing, asked.now_s, asked.new_id)
    check_entitlements([edited], asked.catalog, asked.now_s)
    return _one(edited, before)


def _cancel(asked: SubscriptionCommand) -> SubscriptionDecision:
    timing = read_timing(BodyReader(SUBSCRIPTION, asked.sent, ("timing",))) or "immediate"
    return _one(cancel.cancel(asked.named(), timing, asked.now_s))


def _change(asked: SubscriptionCommand) -> SubscriptionDecision:
    before, placed = asked.named(), read_change(asked.sent, asked.customer, asked.catalog)
    succession = change.change(before, placed.plan, placed.order, asked.now_s, asked.new_id)
    return _succeeded(succession, asked)


def _migrate(asked: SubscriptionCommand) -> SubscriptionDecision:
    before = asked.named()
    sent = read_migration(asked.sent, before, asked.catalog)
    succession = change.migrate(
        before,
        sent.plan,
        asked.now_s,
        asked.new_id,
        timing=sent.timing,
        starting_phase=sent.starting_phase,
        billing_anchor_s=sent.billing_anchor_s,
    )
    return _succeeded(succession, asked)


def _continue(asked: SubscriptionCommand) -> SubscriptionDecision:
    _check_no_body(asked)
    return _one(cancel.unschedule(asked.named(), asked.subscriptions, asked.now_s))


def _restore(asked: SubscriptionCommand) -> SubscriptionDecision:
    _check_no_body(asked)
    restored, deleted = cancel.restore(asked.named(), asked.subscriptions, asked.now_s)
    return SubscriptionDecision((restored, *deleted), {"subscription": restored.id})


def _delete(asked: SubscriptionCommand) -> SubscriptionDecision:
    _check_no_body(asked)
    return _one(cancel.delete(asked.named(), asked.now_s))


def _addon_create(asked: SubscriptionCommand) -> SubscriptionDecision:
    before, sent = asked.named(), read_purchase(asked.sent)
    addon, offer = _offered(asked.catalog, before, sent.addon)
    after = subscription_addons.buy(before, addon, offer, sent.order, asked.now_s, asked.new_id)
    check_entitlements([after], asked.catalog, asked.now_s)
    return SubscriptionDecision((after,), {"subscription": after.id, "addon": after.addons[-1].id})


def _addon_update(asked: SubscriptionCommand) -> SubscriptionDecision:
    before, sent, now_s = asked.named(), read_purchase_change(asked.sent), asked.now_s
    purchase = subscription_addons.purchase_of(before, str(asked.command.body.get("addon")))
    after = subscription_addons.describe(before, purchase.id, sent.described, now_s)
    if sent.quantity is not None:
        after = subscription_addons.change_quantity(after, purchase.id, sent.quantity, sent.timing, now_s)
    decision = _one(after, before)
    return decision._replace(body={**decision.body, "addon": purchase.id})


DECIDERS: Mapping[str, Callable[[SubscriptionCommand], SubscriptionDecision]] = {
    "subscription.create": _create,
    "subscription.edit": _edit,
    "subscription.cancel": _cancel,
    "subscription.change": _change,
    "subscription.migrate": _migrate,
    "subscription.continue": _continue,
    "subscription.restore": _restore,
    "subscription.delete": _delete,
    "subscription.addon-create": _addon_create,
    "subscription.addon-update": _addon_update,
}


def _check_no_body(asked: SubscriptionCommand) -> None:
    BodyReader(SUBSCRIPTION, asked.sent, ())


def _one(after: Subscription, before: Subscription | None = None) -> SubscriptionDecision:
    return SubscriptionDecision(() if after == before else (after,), {"subscription": after.id})


def _succeeded(succession: Succession, asked: SubscriptionCommand) -> SubscriptionDecision:
    current, following = succession
    others = [one for one in asked.subscriptions if one.id != current.id]
    _check_together(following, [*others, current], asked)
    return SubscriptionDecision((current, following), {"current": current.id, "next": following.id})


def _check_together(made: Subscription, others: Sequence[Subscription], asked: SubscriptionCommand) -> None:
    check_single(made, others)
    check_items([made, *others])
    check_entitlements([made], asked.catalog, asked.now_s)


def _offered(catalog: CatalogNow, subscription: Subscription, wanted: str) -> tuple[Addon, PlanAddon]:
    """An add-on and its assignment to the plan of a subscription."""
    assigned = None if subscription.plan is None else catalog.assigned(subscription.plan.id, wanted)
    if assigned is not None:
        return assigned[1], assigned[0]
    if catalog.named(Addon, wanted) is None:
        raise Rejected("not-found", f"There is no add-on with the id {wanted}.")
    raise Rejected(
        "bad-subscription-addon", f"the plan of the subscription does not offer the add-on {wanted}"
    )
