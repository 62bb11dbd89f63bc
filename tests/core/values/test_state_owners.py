"""The owner of a row by the rules of its first byte."""

from __future__ import annotations

from pipeline.core.values.state_owners import StateOwners, Unowned, part


def test_a_name_may_be_another_name_of_an_owner() -> None:
    owners = StateOwners(
        {b"a": part(1, 3), b"i": part(0), b"p": Unowned.STAYS},
        {b"a": lambda key, value: (key[1:3], int(value)), b"i": lambda key, value: (key, value)},
        {b"me": 7},
    )
    assert owners.of(b"ayou/1") is Unowned.UNKNOWN
    owners.learn(b"ayo/1", b"9")
    owners.learn(b"i1", b"yo")
    owners.learn(b"i2", b"no-name")
    owners.learn(b"p", b"")
    found = [owners.of(key) for key in (b"ame", b"ayo/2", b"i1", b"i2", b"p", b"")]
    assert found == [7, 9, 9, Unowned.UNKNOWN, Unowned.STAYS, Unowned.UNKNOWN]
    assert StateOwners({b"a": part(1)}, otherwise=Unowned.SHARED).of(b"ax") is Unowned.SHARED
