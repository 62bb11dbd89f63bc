"""The billing profiles of a namespace and the overrides of its customers, by the definitions in force.

Owns: these look-ups, the default profile that every namespace has from the beginning. Does not own: which changes are
allowed (profile, profile_commands).
That profile has no stored definition until a command changes it. Its id is a function of the namespace, so that every
process has the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Final

from pipeline.core.billing.app import App
from pipeline.core.billing.apps_now import FROM_THE_BEGINNING, AppsNow, sandbox_of
from pipeline.core.customers.customer import BillingAddress
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.definitions.kinds import OVERRIDE_PROFILE
from pipeline.core.invoices.profile import (
    BillingProfile,
    CustomerOverride,
    ProfileApps,
    Supplier,
    default_of,
    in_force,
)
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.core.values import ulid
from pipeline.errors import Broken

SANDBOX_PROFILE: Final = "openmeter-sandbox"


def sandbox_profile_of(namespace: str) -> BillingProfile:
    """The profile that a namespace has before any command. It is the default until another one becomes it."""
    app = sandbox_of(namespace).id
    return BillingProfile(
        id=ulid.make(0, f"{namespace}/billing-profile/{SANDBOX_PROFILE}"),
        name=SANDBOX_PROFILE,
        supplier=Supplier(name=SANDBOX_PROFILE, addresses=(BillingAddress(country="US"),)),
        default=True,
        workflow=BillingWorkflow(),
        apps=ProfileApps(app, app, app),
        created_at=FROM_THE_BEGINNING,
        updated_at=FROM_THE_BEGINNING,
    )


class ProfilesNow:
    """The profiles and overrides of a namespace in one state of the index: do not keep it over a change."""

    def __init__(self, index: DefinitionIndex, namespace: str) -> None:
        self._index = index
        self._namespace = namespace
        self.apps = AppsNow(index, namespace)

    @cached_property
    def profiles(self) -> Mapping[str, BillingProfile]:
        """By id, oldest first, deleted ones too."""
        first = sandbox_profile_of(self._namespace)
        stored = {one.id: one for one in self._index.all(BillingProfile, self._namespace)}
        return {first.id: first} | stored

    def default(self) -> BillingProfile:
        """The default profile.

        Raises:
            Rejected: `default_profile_not_found`.
        """
        return default_of(self.profiles)

    def override(self, customer_id: str) -> CustomerOverride | None:
        """The override of a customer, deleted or not."""
        return self._index.find(CustomerOverride, self._namespace, customer_id)

    def overrides_of(self, profile_id: str) -> list[CustomerOverride]:
        """The overrides that name a profile and are not deleted, by customer."""
        return self._index.having(CustomerOverride, self._namespace, OVERRIDE_PROFILE, profile_id)

    def in_force(self, customer_id: str) -> BillingProfile:
        """The profile of a customer, which a new invoice takes over.

        Raises:
            Rejected: a code of profile.CODES.
        """
        return in_force(self.profiles, self.override(customer_id))

    def app(self, profile: BillingProfile) -> App:
        """The app that sends the invoices of a profile.

        Raises:
            Broken: there is none; one that a profile uses cannot be uninstalled.
        """
        found = self.apps.find(profile.apps.invoicing)
        if found is None:
            raise Broken(f"The billing profile {profile.id} has an app that does not exist.")
        return found
