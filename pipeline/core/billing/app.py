"""Apps: the outside systems to which usage and invoices go, and the sandbox that plays one.

Owns: what the definition of an app holds, what its sealed secrets are bound to, what of it is shown. Does not own:
deciding app.* (app_commands), which apps a namespace has (apps_now), calls to the outside system (stores.stripe_api).
Source: openmeterio/openmeter at 7e57a394, `api/openapi.yaml` StripeApp, SandboxApp, CustomInvoicingApp, AppStatus.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from pipeline.core.billing.marketplace import LISTINGS, AppType
from pipeline.core.definitions.definition_body import BodyClass, DefinitionBody
from pipeline.core.definitions.kinds import APP

AppStatus = Literal["ready", "unauthorized"]
STRIPE: Final = "stripe"
SANDBOX: Final = "sandbox"
CUSTOM_INVOICING: Final = "custom_invoicing"
MASKED = "maskedAPIKey"  # OpenMeter's name of the member
HAS_SECRET = "hasWebhookSecret"
_NOT_SHOWN = ("sealedApiKey", "sealedWebhookSecret", "maskedApiKey", "stripeDestinationId")


class App(DefinitionBody, frozen=True, kw_only=True):
    """An installed app; of the type sandbox it has no more members. id: a ULID.

    Instants are RFC 3339 in UTC with milliseconds.

    Attributes:
        type: of the outside system.
        status: unauthorized: its key was refused, and nothing is sent until it is replaced.
        status_reason: what the outside system answered when it refused the key.
        deleted_at: it was uninstalled.
    """

    kind = APP

    id: str
    type: AppType
    name: str
    description: str | None = None
    metadata: dict[str, str] | None = None
    status: AppStatus
    status_reason: str | None = None
    created_at: str
    updated_at: str
    deleted_at: str | None = None

    @classmethod
    def shape(cls, members: Mapping[str, object]) -> BodyClass:
        """The class that holds the members of the app's type."""
        shapes: dict[str, BodyClass] = {STRIPE: StripeApp, CUSTOM_INVOICING: CustomInvoicingApp}
        return shapes.get(str(members.get("type")), App)

    def __repr__(self) -> str:
        return f"App(id={self.id!r})"

    @property
    def shown(self) -> dict[str, object]:
        """Its JSON as answers have it: without secrets, with its listing."""
        return {**self.members, "listing": LISTINGS[self.type]}


class StripeApp(App, frozen=True, kw_only=True):
    """An account of Stripe.

    Attributes:
        stripe_account_id: of the account to which the key belongs.
        livemode: whether the key moves real money.
        masked_api_key: what may be shown of the key.
        sealed_api_key, sealed_webhook_secret: readable only with the setting `secrets_key` (values.sealed). The key is
            empty once the app is uninstalled.
        stripe_destination_id: of the event destination that was created at Stripe for error reports.
    """

    stripe_account_id: str
    livemode: bool
    masked_api_key: str
    sealed_api_key: str
    sealed_webhook_secret: str | None = None
    stripe_destination_id: str | None = None

    @property
    def shown(self) -> dict[str, object]:
        """Its JSON as answers have it: without secrets, with its listing."""
        members = {name: value for name, value in self.members.items() if name not in _NOT_SHOWN}
        return {
            **members, MASKED: self.masked_api_key, HAS_SECRET: self.sealed_webhook_secret is not None,
            "listing": LISTINGS[self.type],
        }  # fmt: skip


class CustomInvoicingApp(App, frozen=True, kw_only=True):
    """A client's own invoicing system, which follows the API and calls back.

    Attributes:
        enable_draft_sync_hook: a draft waits until the client has taken it over.
        enable_issuing_sync_hook: an invoice is issued once the client has issued it.
    """

    enable_draft_sync_hook: bool
    enable_issuing_sync_hook: bool


def stripe_accounts(apps: Iterable[App]) -> list[StripeApp]:
    """Those of some apps that are accounts of Stripe and not uninstalled."""
    return [app for app in apps if isinstance(app, StripeApp) and not app.is_deleted]


def place(namespace: str) -> str:
    """What the sealed secrets of a namespace's apps are bound to."""
    return f"{namespace}/{APP}"


def masked(key: str) -> str:
    """What may be shown of a key of Stripe.

    >>> masked("sk_test_51Habcdef")
    'sk_test_***def'
    """
    return f"{key[: len('sk_test_')]}***{key[-3:]}"
