"""Customers: what one may have, whose subjects are whose, and the law that a subject has one customer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.customers.customer import Customer
from pipeline.core.definitions.index import DefinitionIndex
from pipeline.core.definitions.kinds import CUSTOMER_SUBJECT
from pipeline.core.values.ulid import is_ulid
from tests.fixtures.control_log import AT, AT_MS, Log

ACME: dict[str, Any] = {
    "key": "acme",
    "name": "Acme",
    "usageAttribution": {"subjectKeys": ["ann", "bob"]},
    "primaryEmail": "ann@acme.example",
    "currency": "EUR",
    "billingAddress": {"country": "AT", "city": "Wien"},
    "metadata": {"tier": "gold"},
}


def subjects(*keys: str) -> dict[str, Any]:
    return {"name": "x", "usageAttribution": {"subjectKeys": list(keys)}}


def test_what_was_sent_comes_back_with_id_and_instants() -> None:
    customer = Log().do("customer.create", ACME)
    assert is_ulid(customer["id"])
    assert customer == {"id": customer["id"], **ACME, "createdAt": AT, "updatedAt": AT}


def test_a_name_is_enough() -> None:
    customer = Log().do("customer.create", {"name": "Acme", "key": None})
    assert customer.keys() == {"id", "name", "usageAttribution", "createdAt", "updatedAt"}
    assert customer["usageAttribution"] == {"subjectKeys": []}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"name": ""},
        {"name": 7},
        {"key": ""},
        {"key": "k" * 257},
        {"key": "a\nb"},
        {"currency": "eur"},
        {"currency": "EURO"},
        {"billingAddress": {"country": "Austria"}},
        {"billingAddress": {"planet": "Earth"}},
        {"metadata": {"a": 1}},
        {"metadata": []},
        {"usageAttribution": {"subjectKeys": "ann"}},
        {"usageAttribution": {"subjectKeys": [""]}},
        {"usageAttribution": {"subjectKeys": ["ann", "ann"]}},
        {"usageAttribution": {"subjectKeys": [1]}},
        {"colour": "red"},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    assert Log().refused("customer.create", ACME | wrong)[0] == "bad-customer"


def test_a_key_is_one_customers() -> None:
    log = Log()
    log.do("customer.create", ACME)
    assert log.refused("customer.create", {"name": "Other", "key": "acme"}) == (
        "customer-conflict",
        'key "acme" is already used by an another customer in the namespace default',
    )
    log.do("customer.create", ACME, namespace="other")


@pytest.mark.parametrize(
    "second",
    [
        subjects("bob"),
        subjects("acme"),  # the first's key is a subject of the first
        {"name": "x", "key": "ann"},
    ],
)
def test_a_subject_is_one_customers(second: dict[str, Any]) -> None:
    log = Log()
    log.do("customer.create", ACME)
    reason, detail = log.refused("customer.create", second)
    assert reason == "subject-conflict" and "are already associated with an different customer" in detail


def test_a_customer_may_name_its_own_key_as_a_subject() -> None:
    log = Log()
    id = log.do("customer.create", {**subjects("acme", "ann"), "key": "acme"})["id"]
    customer = log.catalog.find(Customer, "default", id)
    assert customer is not None and customer.subjects == ["acme", "ann"]


@pytest.mark.parametrize("by", ["id", "key"])
def test_an_update_replaces_everything(by: str) -> None:
    log = Log()
    first = log.do("customer.create", ACME)
    body = {**subjects("bob", "eve"), "id": first["id"] if by == "id" else "acme", "key": "acme"}
    second = log.do("customer.update", body, at_ms=AT_MS + 1000)
    assert second == {
        **subjects("bob", "eve"),
        "id": first["id"],
        "key": "acme",
        "createdAt": AT,
        "updatedAt": "2026-01-01T00:00:01.000Z",
    }
    log.do("customer.create", subjects("ann"))  # it is free now
    assert log.refused("customer.update", {**body, **subjects("ann")})[0] == "subject-conflict"


def test_the_same_again_changes_nothing() -> None:
    log = Log()
    customer = log.do("customer.create", ACME)
    revision = log.revision
    assert log.do("customer.update", customer, at_ms=AT_MS + 1000) == customer
    assert log.revision == revision


def test_who_held_a_subject_is_kept_by_minutes() -> None:
    log = Log()
    first = log.do("customer.create", {"name": "A", **subjects("ann", "bob")})
    second = log.do("customer.create", {"name": "B", "key": "bee"})
    log.do("customer.update", {"id": first["id"], "name": "A", **subjects("bob")}, at_ms=AT_MS + 61_000)
    log.do(
        "customer.update",
        {"id": second["id"], "name": "B", "key": "bee", **subjects("ann")},
        at_ms=AT_MS + 61_000,
    )
    log.do("customer.delete", {"id": first["id"]}, at_ms=AT_MS + 125_000)
    minute = AT_MS // 60_000 * 60
    assert log.body("attribution", "ann")["holders"] == [[0, first["id"]], [minute + 120, second["id"]]]
    assert log.body("attribution", "bob")["holders"] == [[0, first["id"]], [minute + 180, ""]]
    assert log.body("attribution", "bee")["holders"] == [[0, second["id"]]]


def test_a_deleted_customer_stays_readable_and_frees_what_it_had() -> None:
    log = Log()
    customer = log.do("customer.create", ACME)
    log.do("customer.delete", {"id": "acme"})
    assert log.body("customer", customer["id"])["deletedAt"] == AT
    for wanted in ("acme", customer["id"], "unknown"):
        assert log.refused("customer.delete", {"id": wanted})[0] == "not-found"
        assert log.refused("customer.update", {"name": "x", "id": wanted})[0] == "not-found"
    assert log.do("customer.create", ACME)["id"] != customer["id"]


def test_another_namespace_has_no_such_customer() -> None:
    log = Log()
    customer = log.do("customer.create", ACME)
    assert log.refused("customer.delete", {"id": customer["id"]}, namespace="other")[0] == "not-found"


names = st.sampled_from(["a", "b", "c"])
bodies = st.fixed_dictionaries(
    {
        "name": st.just("x"),
        "usageAttribution": st.fixed_dictionaries({"subjectKeys": st.lists(names, unique=True)}),
    },
    optional={"key": names},
)
commands = st.one_of(
    st.tuples(st.just("customer.create"), bodies),
    st.tuples(st.just("customer.update"), st.builds(lambda body, id: {**body, "id": id}, bodies, names)),
    st.tuples(st.just("customer.delete"), st.fixed_dictionaries({"id": names})),
)


@given(st.lists(st.tuples(commands, st.sampled_from(["default", "other"])), max_size=15))
def test_a_subject_never_has_two_customers_and_the_indices_are_those_of_the_log(
    script: list[tuple[tuple[str, dict[str, Any]], str]],
) -> None:
    log = Log()
    for (kind, body), namespace in script:
        log.run(log.command(kind, body, namespace))
        owners: dict[tuple[str, str], str] = {}
        for definition in log.state.values():
            customer = Customer.of(definition)
            if customer is not None and not customer.is_deleted:
                for subject in customer.subjects:
                    assert (
                        owners.setdefault((definition.namespace, subject), definition.name) == definition.name
                    )
        loaded = DefinitionIndex(dict(log.state))
        for catalog in (log.catalog, loaded):
            for one in ("default", "other"):
                for subject in ("a", "b", "c"):
                    assert catalog.one(one, CUSTOMER_SUBJECT, subject) == owners.get((one, subject))
        assert loaded.revision == log.revision
