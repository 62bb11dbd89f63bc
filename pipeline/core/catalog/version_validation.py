"""What is wrong with a version of a plan or an add-on, whatever it holds: its currency and when it is sold.

Owns: these rules. Does not own: those of plans (plan_validation) and add-ons (addon_validation) alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.catalog.catalog_issue import ROOT, CatalogIssue, issue, member
from pipeline.core.catalog.catalog_version import CatalogVersion
from pipeline.core.catalog.rate_card_validation import currency_issues


def version_issues(version: CatalogVersion) -> Iterator[CatalogIssue]:
    """What is wrong with the members that every version has, but for its key and name."""
    yield from currency_issues(version.currency)
    (from_ms, to_ms), path = version.span_ms, member(ROOT, "effectiveFrom")
    if to_ms is not None and from_ms is None:
        yield issue("effective_period_from_not_set", path)
    elif to_ms is not None and from_ms is not None and from_ms > to_ms:
        yield issue("effective_period_from_after_to", path)


def reference_issues(namespace: str, id: object) -> Iterator[CatalogIssue]:
    """What is wrong with how a command names a version."""
    if not namespace:
        yield issue("resource_namespace_empty", member(ROOT, "namespace"))
    if id is None or id == "":
        yield issue("resource_id_empty", member(ROOT, "id"))
