"""Changes of definitions: by kind, typed, in the order of the log, and no order of the batches matters in the end."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.customers.attribution import Holders
from pipeline.core.definitions.changes import ChangedBody, Changes
from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.quota.accounts import Accounts
from pipeline.errors import Broken
from pipeline.records import Definition
from tests.fixtures.alert_desk import METERED, desk


class Note(DefinitionBody, frozen=True):
    kind = "note"
    text: str


def note(name: str, revision: int, body: dict[str, object] | None) -> Definition:
    return Definition(revision, "note", "default", name, "", 0, body)


def test_each_changed_definition_of_a_kind_comes_once_in_the_order_of_the_log() -> None:
    changes = Changes(
        {
            "default/note/b": note("b", 9, {"text": "hello"}),
            "default/meter/m": Definition(12, "meter", "default", "m", "", 0, None),
            "default/note/a": note("a", 5, None),
            "other/note/c": None,
        }
    )
    assert list(changes.of(Note)) == [
        ChangedBody("default", "b", Note("hello"), 9),
        ChangedBody("default", "a", None, 5),
        ChangedBody("other", "c", None, 0),
    ]
    assert changes.has(Note) and changes.revision == 12


def test_a_key_that_is_no_definitions_is_passed_over() -> None:
    changes = Changes({"/end": None, "x": None})
    assert not changes.has(Note) and list(changes.of(Note)) == [] and changes.revision == 0


def test_a_body_that_cannot_be_read_is_broken() -> None:
    with pytest.raises(Broken, match="The stored note a cannot be read"):
        list(Changes({"default/note/a": note("a", 1, {"text": 5})}).of(Note))


def log() -> list[tuple[str, Definition]]:
    """What a customer with an entitlement, a grant and a moved subject has on `control`, oldest first."""
    made, _, _ = desk()
    entitlement = made.do("entitlement.create", METERED)
    made.do("grant.create", {"entitlementId": entitlement["id"], "amount": 5})
    return sorted(made.log.state.items(), key=lambda one: one[1].revision)


LOG = log()


def kept(batches: list[Mapping[str, Definition]]) -> tuple[object, ...]:
    accounts, holders = Accounts(), Holders()
    touched = set()
    for batch in batches:
        touched |= accounts.update(Changes(batch))
        holders.update(Changes(batch))
    (name,) = accounts.names()
    account = accounts.get(name)
    assert account is not None
    uses = [accounts.use(one) for one in account.entitlements.values()]
    terms = [accounts.terms(account, one) for one in account.entitlements.values()]
    subjects = dict(accounts.subjects(*name[:2]))
    return account.key, account.spans, account.revision, uses, terms, subjects, holders.watched, touched


@given(st.permutations(LOG), st.sets(st.integers(1, len(LOG) - 1)))
def test_subscribers_keep_the_same_however_the_log_is_read(
    order: list[tuple[str, Definition]], cuts: set[int]
) -> None:
    """A compacted log may have a grant before its entitlement, and a batch may end anywhere."""
    ends = [*sorted(cuts), len(order)]
    starts = [0, *ends[:-1]]
    batches = [dict(order[start:end]) for start, end in zip(starts, ends, strict=True)]
    assert kept(batches) == kept([dict(LOG)])  # type: ignore[list-item]
