"""The usage of customers as ClickHouse has it, and the features that are billed by usage.

Owns: reading both for a comparison with bills. Does not own: the count (core.bills.recounted_usage), the comparison.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pipeline.api.http.services import Services
from pipeline.core.bills.customer_money import FeaturesById
from pipeline.core.bills.money_reconcile import ReconciledFeature
from pipeline.core.bills.recounted_usage import RecountedUsage
from pipeline.core.bills.usage import BilledFeature, billed_feature
from pipeline.core.catalog.feature import Feature
from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import Changes
from pipeline.core.definitions.index import key_of
from pipeline.core.metering.meter import Aggregation
from pipeline.stores.clickhouse.windows import stored_windows


def features_of(services: Services, namespace: str) -> FeaturesById:
    """The features of a namespace that have a meter, archived ones too."""
    return FeaturesById(_features(services, namespace))


def usage_of_customer(
    services: Services, owner: tuple[str, str], meter_id: int, from_s: int, to_s: int
) -> RecountedUsage:
    """The usage of a customer and meter in [from_s, to_s), in seconds since 1970.

    Args:
        services: of the process.
        owner: namespace and id of the customer.
        meter_id: of the meter.
        from_s: a whole minute.
        to_s: a whole minute.

    Raises:
        Unavailable: ClickHouse does not answer.
    """
    namespace, customer = owner
    attributions = services.definitions.attributions(namespace, customer)
    holders = Holders()
    holders.update(Changes({key_of(one): one for one in attributions}))
    subjects = sorted(one.name for one in attributions)
    pages = (
        stored_windows(services.clickhouse_pages, namespace, meter_id, subjects, from_s, to_s)
        if subjects
        else iter(())
    )
    return RecountedUsage((one for page in pages for one in page), holders, customer)


def _features(services: Services, namespace: str) -> Iterator[tuple[Feature, ReconciledFeature]]:
    for feature in services.definitions.features(namespace, archived=True):
        if feature.meter_slug is None:
            continue
        billed = _billed(services, namespace, feature)
        if billed is not None:
            yield feature, ReconciledFeature(feature.key, feature.meter_slug, billed)


def _billed(services: Services, namespace: str, feature: Feature) -> BilledFeature | None:
    if feature.meter_id is not None and feature.meter_aggregation is not None:
        aggregation = msgspec.convert(feature.meter_aggregation, Aggregation)
        return billed_feature(feature, feature.meter_id, aggregation)
    found = services.definitions.meter(namespace, feature.meter_slug or "")
    return None if found is None else billed_feature(feature, found[1].meter_id, found[1].aggregation)
