"""The commands about apps that need no key, and what billing profiles mean for the end of an app.

Owns: installing a sandbox or custom_invoicing, the profile that comes with it, deciding app.add and
app.uninstall. Does not own: what an app is, what its end changes (billing.app_commands).
"""

from __future__ import annotations

from typing import Final

from pipeline.core.billing import app_commands
from pipeline.core.billing.app import CUSTOM_INVOICING, SANDBOX, App, CustomInvoicingApp
from pipeline.core.billing.app_commands import MAX_NAME, existing_app
from pipeline.core.billing.marketplace import INVOICING, LISTINGS
from pipeline.core.definitions.body import BodyReader
from pipeline.core.definitions.context import CommandContext, Decided, DefinitionChange
from pipeline.core.definitions.kinds import APP
from pipeline.core.invoices.profile import BillingProfile, ProfileApps
from pipeline.core.invoices.profile_commands import saved_changes
from pipeline.core.invoices.profiles_now import ProfilesNow, sandbox_profile_of
from pipeline.errors import Rejected

KEYLESS: Final = (SANDBOX, CUSTOM_INVOICING)


def install(context: CommandContext) -> Decided:
    """app.add: a new app of a type that needs no key, with a billing profile unless none is asked for.

    The profile becomes the default where the default profile has a sandbox and the new app is none.

    Raises:
        Rejected: `bad-app`.
    """
    sent = BodyReader(APP, context.body, ("type", "name", "createBillingProfile"))
    type = sent.one_of("type", KEYLESS)
    if type is None:
        sent.refuse("app type is required")
    app = _new(context, type, sent.text("name", MAX_NAME) or str(LISTINGS[type]["name"]))
    changes = [DefinitionChange(APP, app.id, app)]
    is_default = False
    if sent.flag("createBillingProfile") is not False:
        profiles = ProfilesNow(context.index, context.namespace)
        is_default = type != SANDBOX and profiles.app(profiles.default()).type == SANDBOX
        changes += saved_changes(profiles, _profile_of(context, app, is_default))
    return Decided(
        changes, {"app": app.shown, "defaultForCapabilityTypes": list(INVOICING) if is_default else []}
    )


def uninstall(context: CommandContext) -> Decided:
    """app.uninstall: nothing more is sent to the account. The app's mappings end, and its secrets are dropped.

    Raises:
        Rejected: `not-found`; `app-conflict` while a billing profile has it.
    """
    BodyReader(APP, context.body, ("id",))
    app = existing_app(context)
    for profile in ProfilesNow(context.index, context.namespace).profiles.values():
        if not profile.is_deleted and app.id in (
            profile.apps.tax,
            profile.apps.invoicing,
            profile.apps.payment,
        ):
            raise Rejected(
                "app-conflict",
                f"the billing profile {profile.id} has the app {app.id}: delete that profile first",
            )
    return app_commands.uninstall(context)


def _new(context: CommandContext, type: str, name: str) -> App:
    now = context.now
    if type == CUSTOM_INVOICING:
        return CustomInvoicingApp(
            id=context.id(),
            type="custom_invoicing",
            name=name,
            status="ready",
            created_at=now,
            updated_at=now,
            enable_draft_sync_hook=False,
            enable_issuing_sync_hook=False,
        )
    return App(id=context.id(), type="sandbox", name=name, status="ready", created_at=now, updated_at=now)


def _profile_of(context: CommandContext, app: App, default: bool) -> BillingProfile:
    """A profile with the usual settings whose app is a new one."""
    return sandbox_profile_of(context.namespace).changed(
        id=context.id(1),
        name=f"{app.name} Billing Profile"[:MAX_NAME],
        default=default,
        apps=ProfileApps(app.id, app.id, app.id),
        created_at=context.now,
        updated_at=context.now,
    )
