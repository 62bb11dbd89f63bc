"""The commands about apps: connecting an account of Stripe, its key, changes of any app, and its end.

Owns: which accounts may be connected, which key may replace another, deciding app.*. Does not own: what an app is
(app), apps that need no key (invoices.keyless_app_commands), whether Stripe takes the key: the sender of the command
asks Stripe, seals the key, and gives what it found in `checked`. No reply holds a secret, and a key that is not sealed
is refused.
"""

from __future__ import annotations

from typing import NamedTuple

from pipeline.core.billing.app import HAS_SECRET, MASKED, STRIPE, App, CustomInvoicingApp, StripeApp
from pipeline.core.billing.apps_now import AppsNow
from pipeline.core.billing.stripe_meter import StripeMeter
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import APP, APP_ACCOUNT, STRIPE_METER, STRIPE_METER_APP
from pipeline.core.values.sealed import PREFIX
from pipeline.errors import Rejected

MAX_NAME, MAX_DESCRIPTION, MAX_SEALED, MAX_REASON = 256, 1024, 1024, 1024
CHECKED = "checked"  # what the sender of the command found when it tried the key
_KEY_FACTS = ("stripeAccountId", "livemode", "maskedApiKey")
INSTALL_MEMBERS = ("apiKey", "name", "webhookSecret")
_KEPT_MEMBERS = ("type", "name", "description", "metadata")
_HOOKS = ("enableDraftSyncHook", "enableIssuingSyncHook")
_STRIPE_MEMBERS = (*_KEPT_MEMBERS, "secretAPIKey", "webhookSecret")
UPDATE_MEMBERS = (*_STRIPE_MEMBERS, *_HOOKS)  # of an app of any type
WRITTEN = (
    "id", "createdAt", "updatedAt", "deletedAt", "listing", "status", "statusReason", "stripeAccountId", "livemode",
    MASKED, HAS_SECRET,
)  # fmt: skip


class _CheckedKey(NamedTuple):
    """A key that Stripe took. sealed: as values.sealed wrote it."""

    sealed: str
    account: str
    livemode: bool
    masked: str


def install(context: CommandContext) -> Decided:
    """app.install: a new app of type stripe, for an account that no other app of the namespace has.

    Raises:
        Rejected: `bad-app`; `app-conflict` if the account is connected already.
    """
    sent = BodyReader(APP, context.asked(CHECKED), INSTALL_MEMBERS)
    key = _checked_key(context, sent, "apiKey")
    if key is None:
        sent.refuse("app apiKey is required")
    if (other := context.index.one(context.namespace, APP_ACCOUNT, key.account)) is not None:
        raise Rejected(
            "app-conflict",
            f"the Stripe account {key.account} is connected already, by the app {other}: update that app's key instead",
        )
    app = StripeApp(
        id=context.id(),
        type=STRIPE,
        name=sent.text("name", MAX_NAME) or "Stripe",
        status="ready",
        stripe_account_id=key.account,
        livemode=key.livemode,
        masked_api_key=key.masked,
        sealed_api_key=key.sealed,
        sealed_webhook_secret=_sealed(sent, "webhookSecret"),
        created_at=context.now,
        updated_at=context.now,
    )
    return _decided(app)


def update(context: CommandContext) -> Decided:
    """app.update: replaces name, description, metadata; the key and the webhook's secret stay unless others are sent.

    Of custom_invoicing it replaces the hooks too.

    Raises:
        Rejected: `not-found`; `bad-app`, also for a key of another account or of the other mode.
    """
    old = existing_app(context)
    members = {StripeApp: _STRIPE_MEMBERS, CustomInvoicingApp: (*_KEPT_MEMBERS, *_HOOKS)}
    known = members.get(type(old), _KEPT_MEMBERS)
    sent = BodyReader(APP, context.asked("id", CHECKED), known, WRITTEN, old.shown)
    if sent.text("type", 64) not in (None, old.type):
        sent.refuse(f"app type must be {old.type}: an app of another type is another app")
    new = old.changed(
        name=sent.required("name", MAX_NAME),
        description=sent.text("description", MAX_DESCRIPTION, multiline=True),
        metadata=sent.metadata(),
    )
    if isinstance(new, StripeApp):
        if (secret := _sealed(sent, "webhookSecret")) is not None:
            new = new.changed(sealed_webhook_secret=secret)
        new = _with_key(context, sent, new)
    elif isinstance(new, CustomInvoicingApp):
        new = _with_hooks(sent, new)
    return _changed(context, old, new)


def rotate(context: CommandContext) -> Decided:
    """app.rotate: another key of the same account, or the same one after it got more rights; sending begins again.

    Raises:
        Rejected: `not-found`; `bad-app` for a key of another account or of the other mode.
    """
    old = _existing_account(context)
    sent = BodyReader(APP, context.asked("id", CHECKED), ("secretAPIKey",))
    sent.required("secretAPIKey", MAX_SEALED)
    return _changed(context, old, _with_key(context, sent, old))


def webhook(context: CommandContext) -> Decided:
    """app.webhook: the signing secret of the event destination that the API created at Stripe.

    Raises:
        Rejected: `not-found`; `bad-app`.
    """
    sent = BodyReader(APP, context.body, ("id", "webhookSecret", "stripeDestinationId"))
    old, secret = _existing_account(context), _sealed(sent, "webhookSecret")
    if secret is None:
        sent.refuse("app webhookSecret is required")
    destination = sent.required("stripeDestinationId", 255)
    return _changed(
        context, old, old.changed(sealed_webhook_secret=secret, stripe_destination_id=destination)
    )


def unauthorized(context: CommandContext) -> Decided:
    """app.unauthorized: Stripe refused the app's key, so nothing is sent until it is replaced. It comes from the stage.

    A refusal of a key that was replaced meanwhile changes nothing: `revision` is that of the definition that was used.

    Raises:
        Rejected: `not-found`; `bad-app`.
    """
    sent = BodyReader(APP, context.body, ("id", "reason", "revision"))
    reason, revision = sent.text("reason", MAX_REASON, multiline=True), sent.integer("revision", 0, 2**62)
    old = _existing_account(context)
    stored = context.index.get(context.namespace, APP, old.id)
    is_old = revision is not None and stored is not None and stored.revision != revision
    if is_old or old.status == "unauthorized":
        return Decided([], old.shown)
    return _changed(context, old, old.changed(status="unauthorized", status_reason=reason))


def uninstall(context: CommandContext) -> Decided:
    """app.uninstall: nothing more is sent to the account. The app's mappings end, and its secrets are dropped.

    Raises:
        Rejected: `not-found`.
    """
    BodyReader(APP, context.body, ("id",))
    old = existing_app(context)
    ended = old.changed(deleted_at=context.now, updated_at=context.now)
    if isinstance(ended, StripeApp):
        ended = ended.changed(sealed_api_key="", sealed_webhook_secret=None, stripe_destination_id=None)
    mappings = [
        DefinitionChange(STRIPE_METER, one.id, one.changed(deleted_at=context.now, updated_at=context.now))
        for one in context.index.having(StripeMeter, context.namespace, STRIPE_METER_APP, old.id)
        if not one.is_deleted
    ]
    return Decided([DefinitionChange(APP, old.id, ended), *mappings])


def existing_app(context: CommandContext) -> App:
    """The app that the body's `id` names.

    Raises:
        Rejected: `not-found`, also for one that was uninstalled.
    """
    id = context.body.get("id")
    found = AppsNow(context.index, context.namespace).find(id) if isinstance(id, str) else None
    if found is None or found.is_deleted:
        raise Rejected("not-found", f"There is no app with the id {str(id)[:64]}.")
    return found


def _existing_account(context: CommandContext) -> StripeApp:
    """As `existing_app`; one of another type has no key."""
    found = existing_app(context)
    if not isinstance(found, StripeApp):
        raise Rejected("bad-app", f"app {found.id} is of the type {found.type}, which has no key")
    return found


def _with_hooks(sent: BodyReader, app: CustomInvoicingApp) -> CustomInvoicingApp:
    """The app with the hooks that were sent; both are required, as a replacement has no others."""
    draft, issuing = (sent.flag(name) for name in _HOOKS)
    if draft is None or issuing is None:
        sent.refuse(f"app {' and '.join(_HOOKS)} are required")
    return app.changed(enable_draft_sync_hook=draft, enable_issuing_sync_hook=issuing)


def _decided(app: App) -> Decided:
    return Decided([DefinitionChange(APP, app.id, app)], app.shown)


def _changed(context: CommandContext, old: App, new: App) -> Decided:
    if new == old:
        return Decided([], old.shown)
    return _decided(new.changed(updated_at=context.now))


def _with_key(context: CommandContext, sent: BodyReader, app: StripeApp) -> StripeApp:
    """The app with the key that was sent, ready; as it is where none was."""
    key = _checked_key(context, sent, "secretAPIKey")
    if key is None:
        return app
    if key.account != app.stripe_account_id:
        sent.refuse(
            f"app secretAPIKey is of the Stripe account {key.account}, and the app has the account "
            f"{app.stripe_account_id}: connect another account as another app"
        )
    if key.livemode != app.livemode:
        modes = ("live", "test") if key.livemode else ("test", "live")
        sent.refuse(
            f"app secretAPIKey is a {modes[0]} key, and the app has a {modes[1]} key: uninstall the app and connect "
            f"the account with its {modes[0]} key"
        )
    return app.changed(
        sealed_api_key=key.sealed, masked_api_key=key.masked, status="ready", status_reason=None
    )


def _checked_key(context: CommandContext, sent: BodyReader, member: str) -> _CheckedKey | None:
    """The key that was sent with what Stripe answered about it; None: none was sent."""
    sealed = _sealed(sent, member)
    if sealed is None:
        return None
    found = BodyReader(APP, {CHECKED: context.body.get(CHECKED)}, (CHECKED,)).nested(CHECKED) or {}
    facts = BodyReader(APP, found, _KEY_FACTS, inside=CHECKED)
    account, masked = facts.required("stripeAccountId", 255), facts.required("maskedApiKey", 64)
    livemode = facts.flag("livemode")
    if livemode is None:
        facts.refuse("app checked livemode is required")
    return _CheckedKey(sealed, account, livemode, masked)


def _sealed(sent: BodyReader, member: str) -> str | None:
    secret = sent.text(member, MAX_SEALED)
    if secret is not None and not secret.startswith(PREFIX):
        sent.refuse(f"app {member} is stored only encrypted: set secrets_key, then send it again")
    return secret
