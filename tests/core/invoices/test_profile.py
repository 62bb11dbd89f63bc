"""Profiles and overrides: which change is refused with which code, and which profile is in force."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.customers.customer import BillingAddress, Customer, UsageAttribution
from pipeline.core.invoices import profile as subject
from pipeline.core.invoices.numbering import Numbering
from pipeline.core.invoices.profile import (
    CODES,
    NOT_FOUND,
    BillingProfile,
    CustomerOverride,
    ProfileApps,
    Supplier,
)
from pipeline.core.invoices.workflow import BillingWorkflow
from pipeline.errors import Rejected

NOW, LATER = "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"


def profile(id: str, default: bool = False, **changed: object) -> BillingProfile:
    usual = BillingProfile(
        id=id,
        name="Usual",
        supplier=Supplier(name="Us", addresses=(BillingAddress(country="US"),)),
        default=default,
        workflow=BillingWorkflow(),
        apps=ProfileApps("app", "app", "app"),
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(usual, **changed)


def customer(deleted_at: str | None = None) -> Customer:
    return Customer(
        id="c",
        name="C",
        usage_attribution=UsageAttribution([]),
        created_at=NOW,
        updated_at=NOW,
        deleted_at=deleted_at,
    )


def override(profile_id: str | None, deleted_at: str | None = None) -> CustomerOverride:
    return CustomerOverride(
        customer_id="c", billing_profile_id=profile_id, created_at=NOW, updated_at=NOW, deleted_at=deleted_at
    )


BOOK = {"a": profile("a", True), "b": profile("b"), "gone": profile("gone", deleted_at=NOW)}


def code_of(call: object, *arguments: object) -> str:
    with pytest.raises(Rejected) as refused:
        call(*arguments)  # type: ignore[operator]
    assert refused.value.detail == CODES[refused.value.reason]
    return refused.value.reason


def test_every_code_is_used() -> None:
    apart = profile("b", apps=ProfileApps("app", "other", "app"))
    found = {
        code_of(subject.saved, BOOK, profile("gone")),
        code_of(subject.saved, BOOK, profile("a")),
        code_of(subject.saved, BOOK, apart),
        code_of(subject.deleted, BOOK, "x", [], LATER),
        code_of(subject.deleted, BOOK, "a", [], LATER),
        code_of(subject.deleted, BOOK, "b", [override("b")], LATER),
        code_of(subject.default_of, {}),
        code_of(subject.overridden, BOOK, None, None, None, LATER),
        code_of(subject.overridden, BOOK, customer(NOW), None, None, LATER),
        code_of(subject.override_deleted, None, LATER),
        code_of(subject.override_deleted, override("b", NOW), LATER),
    }
    assert found == set(CODES)
    assert code_of(subject.deleted, BOOK, "gone", [], LATER) == "profile_already_deleted"
    assert code_of(subject.overridden, BOOK, customer(), None, "gone", LATER) == "profile_not_found"
    assert set(CODES) >= NOT_FOUND


def test_an_override_that_was_deleted_does_not_keep_a_profile() -> None:
    assert subject.deleted(BOOK, "b", [override("b", NOW)], LATER).deleted_at == LATER


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=12))
def test_there_is_one_default_from_the_first_on(changes: list[tuple[str, bool, bool]]) -> None:
    book: dict[str, BillingProfile] = {}
    for id, default, delete in changes:
        had = any(one.default for one in book.values())
        try:
            changed = (
                [subject.deleted(book, id, [], LATER)]
                if delete
                else subject.saved(book, profile(id, default))
            )
        except Rejected:
            continue
        book |= {one.id: one for one in changed}
        defaults = [one for one in book.values() if one.default]
        assert len(defaults) == (1 if had or (default and not delete) else 0)
        assert all(one.deleted_at is None for one in defaults)


def test_the_profile_in_force() -> None:
    assert subject.in_force(BOOK, None).id == "a"
    assert subject.in_force(BOOK, override(None)).id == "a"
    assert subject.in_force(BOOK, override("b", NOW)).id == "a"
    assert subject.in_force(BOOK, override("b")).id == "b"
    assert subject.in_force({**BOOK, "b": profile("b", True), "a": profile("a")}, None).id == "b"


def test_an_override_that_is_repeated_is_the_same() -> None:
    first = subject.overridden(BOOK, customer(), None, "b", NOW)
    assert subject.overridden(BOOK, customer(), first, "b", LATER) is first
    other = subject.overridden(BOOK, customer(), first, None, LATER)
    assert (other.created_at, other.updated_at, other.billing_profile_id) == (NOW, LATER, None)
    fresh = subject.overridden(BOOK, customer(), override("b", NOW), "b", LATER)
    assert (fresh.created_at, fresh.deleted_at) == (LATER, None)


def test_a_numbering_of_another_profile_is_refused() -> None:
    with pytest.raises(Rejected, match="numbering prefix INV is used"):
        subject.saved(BOOK, profile("b", numbering=Numbering(scope="customer")))
