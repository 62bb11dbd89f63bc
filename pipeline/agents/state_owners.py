"""The owners of the rows of every stage whose state is by customer or endpoint, as the definitions show them.

Owns: reading all definitions once. Does not own: the rules (core: account_owners, bill_owners, stripe_owners,
delivery_owners), what owners are needed for (raise_customers).
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.billing.stripe_owners import stripe_owners
from pipeline.core.bills.bill_owners import bill_owners
from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.changes import Changes
from pipeline.core.notifications.account_owners import account_owners
from pipeline.core.notifications.delivery_owners import delivery_owners
from pipeline.core.quota.accounts import Accounts
from pipeline.core.values.state_owners import StateOwners
from pipeline.errors import Unavailable
from pipeline.records import Definition
from pipeline.settings import Settings
from pipeline.stores.kafka.definitions import Definitions


def owners_of_stages(settings: Settings, revision: int) -> dict[str, StateOwners]:
    """The owners by stage. revision: of the definitions with which the state was built.

    Raises Unavailable: the definitions are not there, or older ones.
    """
    accounts = Accounts()
    customers: dict[tuple[str, str], None] = {}

    def take(records: Mapping[str, Definition | None]) -> None:
        changes = Changes(records)
        accounts.update(changes)
        for one in changes.of(Customer):  # a deleted one stays
            customers[one.namespace, one.name] = None

    definitions = Definitions(settings, kinds=())
    definitions.on_change(take)
    with definitions:
        definitions.wait_loaded()
        if definitions.revision < revision:
            raise Unavailable(
                f"State was built with revision {revision} of the definitions, but the topic control holds only "
                f"{definitions.revision}. `tallymark topics check` shows how to recover."
            )
    return {
        "alert": account_owners(accounts),
        "billing": bill_owners(customers),
        "stripe-sync": stripe_owners(),
        "webhook": delivery_owners(),
    }
