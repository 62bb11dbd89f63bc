"""Profiles that clients send: what is read is shown again, and everything else is refused with a sentence."""

from __future__ import annotations

import msgspec
import pytest

from pipeline.core.invoices.numbering import Numbering
from pipeline.core.invoices.profile import BillingProfile
from pipeline.core.invoices.profile_reading import read_changed_profile, read_new_profile
from pipeline.errors import Rejected
from tests.core.invoices.invoices import AT, START_S, text

LATER = text(START_S + 60)
SENT = {
    "name": "Usual",
    "description": "for all",
    "metadata": {"a": "b"},
    "supplier": {
        "key": "us",
        "name": "Us",
        "taxId": {"code": "DE1"},
        "addresses": [{"country": "DE", "city": "Berlin"}],
    },
    "default": True,
    "workflow": {"invoicing": {"dueAfter": "P14D"}},
    "apps": {"tax": "app", "invoicing": "app", "payment": "app"},
    "timeZone": "Europe/Berlin",
    "numbering": {"prefix": "A1", "scope": "profile", "start": 5},
    "taxRates": [{"code": "vat", "percent": "19", "behavior": "inclusive"}],
}


def read(**changed: object) -> BillingProfile:
    sent = SENT | changed
    return read_new_profile({name: value for name, value in sent.items() if value is not None}, "01P", AT)


def test_what_is_sent_is_shown() -> None:
    shown = msgspec.json.decode(msgspec.json.encode(read()))
    workflow = shown.pop("workflow")
    assert workflow["invoicing"]["dueAfter"] == "P14D"
    assert shown == {name: value for name, value in SENT.items() if name != "workflow"} | {
        "id": "01P", "createdAt": AT, "updatedAt": AT,
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(read()), type=BillingProfile) == read()


def test_what_is_absent_has_its_default() -> None:
    found = read(timeZone=None, numbering=None, workflow={})
    assert (found.time_zone, found.numbering) == ("UTC", Numbering())


def test_a_change_keeps_the_apps_and_takes_back_what_was_read() -> None:
    old = read()
    sent = msgspec.json.decode(msgspec.json.encode(old))
    del sent["apps"]
    changed = read_changed_profile(sent | {"name": "New"}, old, LATER)
    assert (changed.name, changed.apps, changed.created_at, changed.updated_at) == (
        "New",
        old.apps,
        AT,
        LATER,
    )
    with pytest.raises(Rejected, match="written by the server"):
        read_changed_profile(sent | {"id": "other"}, old, LATER)
    with pytest.raises(Rejected, match="apps is written by the server"):
        read_changed_profile(sent | {"apps": SENT["apps"]}, old, LATER)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"name": None}, "name"),
        ({"default": None}, "are required"),
        ({"supplier": None}, "are required"),
        ({"workflow": None}, "are required"),
        ({"apps": None}, "apps is required"),
        ({"apps": {"tax": "a", "invoicing": "a"}}, "payment"),
        ({"supplier": {"taxId": {"code": "x" * 33}}}, "at most 32"),
        ({"supplier": {"addresses": [{}, {}]}}, "list of 0 to 1"),
        ({"supplier": {"addresses": [{"country": "de"}]}}, "two capital letters"),
        ({"timeZone": "Mars"}, "timeZone"),
        ({"numbering": {"prefix": "cn"}}, "numbering prefix"),
        ({"numbering": {"start": 0}}, "numbering start"),
        ({"numbering": {"scope": "moon"}}, "must be one of"),
        ({"taxRates": [{"code": "vat", "percent": 101}]}, "from 0 to 100"),
        ({"colour": "red"}, "unknown member"),
    ],
)
def test_what_is_wrong_is_refused(changed: dict[str, object], sentence: str) -> None:
    with pytest.raises(Rejected, match=sentence) as refused:
        read(**changed)
    assert refused.value.reason == "bad-billing-profile"
