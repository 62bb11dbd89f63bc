"""The audit log: what it shows, what it leaves out, and that any edit breaks it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.definitions.audit import EMPTY, MOST_BODY_BYTES, AuditHead, digest, verify, without_secrets
from pipeline.errors import Rejected
from pipeline.records import Audit
from tests.fixtures.control_log import Log


def chain(length: int) -> list[Audit]:
    log = Log()
    for number in range(length):
        log.run(log.command("customer.create", {"name": f"c{number}", "key": f"k{number // 2}"}))
    return log.audit


CHAIN = chain(6)


def test_what_is_shown_of_a_change() -> None:
    log = Log()
    customer = log.do("customer.create", {"name": "Acme", "key": "acme"})
    after = log.do("customer.update", {"id": "acme", "name": "ACME"})
    log.refused("customer.delete", {"id": "unknown"})
    one, two, three = log.audit
    assert (one.seq, one.kind, one.name, one.actor, one.before) == (
        1,
        "customer.create",
        customer["id"],
        "ann",
        None,
    )
    assert one.after == two.before == customer and two.after == after
    assert (three.name, three.error, three.before, three.after) == ("unknown", "not-found", None, None)
    assert verify(log.audit) == AuditHead(3, three.hash)


def test_a_command_that_changes_several_is_one_record() -> None:
    log = Log()
    log.do("subject.upsert", {"subjects": [{"key": "ann"}, {"key": "bob"}]})
    ids = [name.removeprefix("default/") for name in log.state]
    (record,) = log.audit
    assert record.before == dict.fromkeys(ids) and record.name == ""
    assert record.after is not None and set(record.after) == set(ids)


def test_a_body_that_is_too_long_is_shown_as_its_hash() -> None:
    log = Log()
    log.do("subject.upsert", {"key": "ann", "metadata": {"a": "x" * MOST_BODY_BYTES}})
    after = log.audit[0].after
    assert after is not None and set(after) == {"bytes", "sha256"}


def test_secrets_are_left_out_at_any_depth() -> None:
    body = {"a": [{"secret": "s", "b": 1}], "hash": "h", "c": {"secrets": ["s"], "d": 2}}
    assert without_secrets(body) == {"a": [{"b": 1}], "c": {"d": 2}}


def test_a_repeat_is_taken_once() -> None:
    assert verify([*CHAIN[:3], CHAIN[2], *CHAIN[3:]]) == verify(CHAIN)


def test_a_chain_may_be_verified_from_anywhere() -> None:
    assert verify(CHAIN[3:], AuditHead(3, CHAIN[2].hash)) == verify(CHAIN)


def test_what_was_cut_off_is_seen_by_the_head() -> None:
    assert verify(CHAIN[:-1]) != verify(CHAIN)


@given(st.integers(0, len(CHAIN) - 1), st.data())
def test_any_edit_breaks_the_chain(place: int, data: st.DataObject) -> None:
    members = msgspec.to_builtins(CHAIN[place])
    member = data.draw(st.sampled_from(sorted(members)))
    kind = type(members[member])
    others: dict[type, Any] = {str: st.text(max_size=64), int: st.integers(0, 9)}
    value = data.draw(others.get(kind, st.dictionaries(st.text(), st.text(), max_size=2)))
    if value == members[member]:
        return
    edited = msgspec.convert({**members, member: value}, Audit)
    with pytest.raises(Rejected, match="broken"):
        verify([*CHAIN[:place], edited, *CHAIN[place + 1 :]])


@given(st.permutations(range(len(CHAIN))))
def test_no_other_order_holds(order: list[int]) -> None:
    if order != sorted(order):
        with pytest.raises(Rejected):
            verify([CHAIN[place] for place in order])


@given(st.integers(0, len(CHAIN) - 2))
def test_a_record_taken_out_is_missed(place: int) -> None:
    with pytest.raises(Rejected):
        verify([*CHAIN[:place], *CHAIN[place + 1 :]])


@given(st.integers(0, len(CHAIN) - 2))
def test_a_forger_has_to_rewrite_all_that_follows(place: int) -> None:
    forged = msgspec.structs.replace(CHAIN[place], actor="unknown")
    forged = msgspec.structs.replace(forged, hash=digest(forged))
    with pytest.raises(Rejected):
        verify([*CHAIN[:place], forged, *CHAIN[place + 1 :]])
    assert verify([]) == EMPTY
