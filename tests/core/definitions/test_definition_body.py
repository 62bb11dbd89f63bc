"""Bodies of definitions as typed values: decoded once, and written back with all that was stored."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.errors import Broken
from pipeline.records import Definition


class Town(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str | None = None


class Shop(DefinitionBody, frozen=True, kw_only=True):
    kind = "shop"
    id: str
    key: str | None = None
    town: Town | None = None
    open_days: list[str]
    created_at: str
    updated_at: str
    deleted_at: str | None = None


class Other(DefinitionBody, frozen=True, kw_only=True):
    kind = "shop"
    id: str


STORED = {"id": "1", "openDays": ["mo"], "createdAt": "a", "updatedAt": "a"}


def definition(body: dict[str, object] | None, kind: str = "shop") -> Definition:
    return Definition(1, kind, "default", "1", "ann", 1, body)


def shop(**members: object) -> Shop:
    found = Shop.of(definition({**STORED, **members}))
    assert found is not None
    return found


def text(body: DefinitionBody) -> str:
    return msgspec.json.encode(body.members).decode()


def test_a_new_body_is_written_in_the_order_of_its_members_without_absent_ones() -> None:
    made = Shop(id="1", open_days=[], created_at="a", updated_at="b")
    assert text(made) == '{"id":"1","openDays":[],"createdAt":"a","updatedAt":"b"}'


def test_a_definition_is_decoded_once() -> None:
    one = definition(dict(STORED))
    assert Shop.of(one) is Shop.of(one)
    assert msgspec.json.encode(one) == msgspec.json.encode(definition(dict(STORED)))


@pytest.mark.parametrize("one", [None, definition(None), definition(dict(STORED), kind="town")])
def test_no_definition_of_the_kind_gives_no_body(one: Definition | None) -> None:
    assert Shop.of(one) is None


def test_a_stored_body_of_another_shape_is_broken() -> None:
    with pytest.raises(Broken, match=r"The stored shop 1 cannot be read: .*createdAt"):
        Shop.of(definition({"id": "1", "openDays": []}))
    one = definition(dict(STORED))
    Shop.of(one)
    with pytest.raises(Broken, match="was decoded as Shop"):
        Other.of(one)


def test_a_change_keeps_the_order_and_what_this_version_does_not_know() -> None:
    old = shop(newer={"x": 1}, town={"name": "Bath", "county": "Somerset"})
    gone = old.changed(deleted_at="b", updated_at="b")
    assert gone.is_deleted and not old.is_deleted
    assert text(gone) == (
        '{"id":"1","openDays":["mo"],"createdAt":"a","updatedAt":"b","newer":{"x":1},'
        '"town":{"name":"Bath","county":"Somerset"},"deletedAt":"b"}'
    )


def test_a_change_to_none_takes_the_member_out() -> None:
    assert "key" not in shop(key="k").changed(key=None).members


def test_a_replacement_keeps_what_this_version_does_not_know() -> None:
    old = shop(newer=1, key="k", town={"name": "Bath", "county": "Somerset"})
    new = Shop(id="1", town=Town("Bath"), open_days=[], created_at="a", updated_at="b").in_place_of(old)
    assert text(new) == (
        '{"id":"1","town":{"name":"Bath","county":"Somerset"},"openDays":[],"createdAt":"a","updatedAt":"b","newer":1}'
    )
    moved = Shop(id="1", town=Town("York"), open_days=[], created_at="a", updated_at="b").in_place_of(old)
    assert moved.members["town"] == {"name": "York"}


json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda one: st.lists(one, max_size=2) | st.dictionaries(st.text(max_size=3), one, max_size=2),
    max_leaves=4,
)
unknown = st.dictionaries(
    st.text(max_size=4).filter(lambda name: name not in Shop.__struct_encode_fields__), json
)


@given(unknown, st.sampled_from(["key", "deleted_at", "updated_at"]), st.text(max_size=3) | st.just(None))
def test_a_change_is_that_of_the_members(more: dict[str, object], field: str, value: str | None) -> None:
    if field == "updated_at" and value is None:
        value = ""
    old = shop(**{"key": "k"} | more)
    name = {"key": "key", "deleted_at": "deletedAt", "updated_at": "updatedAt"}[field]
    expected = {**old.members, name: value}
    if value is None:
        del expected[name]
    new = old.changed(**{field: value})
    assert list(new.members.items()) == list(expected.items())
    assert Shop.of(definition(new.members)) == new
    assert new.in_place_of(old).members == new.members
