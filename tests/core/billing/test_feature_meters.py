"""Which meters are billed: those of every feature, archived ones too, whichever definition is read first."""

from __future__ import annotations

from itertools import permutations

from pipeline.core.billing.feature_meters import FeatureMeters
from pipeline.core.definitions.changes import Changes
from pipeline.records import Definition
from tests.core.billing.stripe_world import meter

AT = "2026-01-01T00:00:00.000Z"


def feature(name: str, slug: str | None, number: int | None = None, **more: object) -> Definition:
    body: dict[str, object] = {
        "id": name,
        "key": name,
        "name": name,
        "createdAt": AT,
        "updatedAt": AT,
        **more,
    }
    if slug is not None:
        body["meterSlug"] = slug
    if number is not None:
        body["meterId"] = number
    return Definition(9, "feature", "default", name, "", 0, body)


def changes(*definitions: Definition) -> Changes:
    return Changes({f"{one.namespace}/{one.kind}/{one.name}": one for one in definitions})


def test_each_feature_names_its_meter_by_number_or_by_the_slug_of_a_meter_in_force() -> None:
    known = meter()
    slug = (known.body or {})["slug"]
    assert isinstance(slug, str)
    made = [known, feature("flag", None), feature("old", slug), feature("new", "gone", 41)]
    for order in permutations(made):
        found = FeatureMeters()
        for one in order:
            found.update(changes(one))
        assert found.meters == {7, 41}
        assert found.named == {("default", 7), ("default", 41)}


def test_an_archived_feature_keeps_its_meter_and_one_that_is_removed_does_not() -> None:
    found = FeatureMeters()
    found.update(changes(feature("a", "tokens", 7), feature("b", "tokens", 8)))
    found.update(changes(feature("a", "tokens", 7, archivedAt=AT)))
    assert found.meters == {7, 8}
    found.update(Changes({"default/feature/a": None}))
    assert found.meters == {8}
