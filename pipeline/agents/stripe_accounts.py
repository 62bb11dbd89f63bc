"""The Stripe apps with their keys, for the calls of the stage.

Owns: reading an app's definition, opening its key, refusing a key that must not be used. Does not own: the rules of a
definition, or its status (control).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.core.billing.app import App, StripeApp, place
from pipeline.core.definitions.changes import Changes
from pipeline.core.values.sealed import Seal
from pipeline.errors import Rejected

LIVE_KEY = "A live key is not used while the setting stripe_address points to something other than Stripe."


@dataclass(frozen=True, slots=True)
class StripeAccount:
    """An app for sending.

    Attributes:
        revision: of its definition.
        ready: its key was not refused, and it is installed.
        problem: why its key cannot be used; there is no key then.
    """

    namespace: str
    app: str
    revision: int
    livemode: bool
    ready: bool
    key: str = field(default="", repr=False)
    problem: str = ""


class StripeAccounts:
    """The apps. `update` is called from the thread that follows `control`; `get` from any thread.

    address: of the setting `stripe_address`.
    """

    def __init__(self, seal: Seal, address: str) -> None:
        self._seal = seal
        self._address = address
        self._by_name: dict[tuple[str, str], StripeAccount] = {}

    def update(self, changes: Changes) -> None:
        """Apply changes of definitions."""
        for namespace, name, app, revision in changes.of(App):
            if not isinstance(app, StripeApp):
                self._by_name.pop((namespace, name), None)
            else:
                self._by_name[namespace, name] = self._opened(namespace, app, revision)

    def get(self, namespace: str, app: str) -> StripeAccount | None:
        """An app, whatever its status; None if it does not exist."""
        return self._by_name.get((namespace, app))

    def _opened(self, namespace: str, app: StripeApp, revision: int) -> StripeAccount:
        ready = app.status == "ready" and not app.is_deleted
        key = problem = ""
        try:
            key = self._seal.open(app.sealed_api_key, place(namespace))
        except Rejected as refusal:
            problem = f"The key of the app {app.id} cannot be opened: {refusal.detail}"
        if self._address and (app.livemode or "_live_" in key):
            key, problem = "", LIVE_KEY
        return StripeAccount(namespace, app.id, revision, app.livemode, ready, key, problem)
