"""API keys: their form, and what creating, rotating and revoking do to what opens."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.access import api_key
from pipeline.core.access.api_key import RANDOM_BYTES, SCOPES, ApiKey, Made, check, make, parse
from pipeline.errors import Broken, Rejected
from tests.fixtures.control_log import AT_MS, Log

DAY_MS = 86_400_000
bytes_of_keys = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


def made(number: int) -> Made:
    return make("live", bytes([number]) * RANDOM_BYTES)


def key_body(made: Made, **more: Any) -> dict[str, Any]:
    return {
        "id": made.public,
        "hash": made.hash,
        "last4": made.last4,
        "name": "shop",
        "scopes": ["ingest"],
        **more,
    }


def stored(log: Log, public: str) -> ApiKey:
    found = ApiKey.of(log.catalog.key_definition(public))
    assert found is not None
    return found


@given(bytes_of_keys)
def test_a_key_is_read_back_and_only_its_secret_fits(random: bytes) -> None:
    key = make("live", random)
    parts = parse(key.text)
    assert (parts.environment, parts.public, parts.secret[-4:]) == ("live", key.public, key.last4)
    assert check(parts.secret, key.hash)
    assert not check(parts.secret[1:] + "0", key.hash) or parts.secret[1:] + "0" == parts.secret
    assert not check(parts.secret, "")
    for shown in (repr(key), repr(parts)):
        assert parts.secret not in shown and key.text not in shown


@given(bytes_of_keys, bytes_of_keys)
def test_other_bytes_make_another_secret(one: bytes, other: bytes) -> None:
    assert (make("live", one).hash == make("live", other).hash) == (one[6:] == other[6:])


@given(bytes_of_keys, st.data())
def test_one_wrong_character_is_seen(random: bytes, data: st.DataObject) -> None:
    text = make("live", random).text
    place = data.draw(st.integers(0, len(text) - 1))
    wrong = data.draw(st.characters(codec="ascii").filter(lambda character: character != text[place]))
    with pytest.raises(Rejected) as refusal:
        parse(text[:place] + wrong + text[place + 1 :])
    assert refusal.value.reason == "bad-key"


@pytest.mark.parametrize("text", ["", "um_live", "sk_live_x", make("live", bytes(RANDOM_BYTES)).text + "\n"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(Rejected):
        parse(text)


def test_too_few_random_bytes_make_no_key() -> None:
    with pytest.raises(Broken):
        make("live", bytes(16))


def test_a_created_key_holds_its_scopes_until_its_end() -> None:
    log = Log()
    reply = log.do(
        "key.create", key_body(made(1), scopes=["query", "ingest"], expiresAt="2026-01-02T00:00:00Z")
    )
    assert "hash" not in reply and reply["scopes"] == ["ingest", "query"]
    key = stored(log, made(1).public)
    assert key.namespace == "default" and check(parse(made(1).text).secret, key.hash)
    assert key.allows("ingest") and not key.allows("admin")
    assert key.holds(AT_MS + DAY_MS - 1) and not key.holds(AT_MS + DAY_MS)


def test_admin_holds_every_scope() -> None:
    log = Log()
    log.do("key.create", key_body(made(1), scopes=["admin"]))
    assert all(stored(log, made(1).public).allows(scope) for scope in SCOPES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "short"},
        {"id": "ab/cd/ef"},
        {"hash": "xyz"},
        {"hash": None},
        {"last4": "12345"},
        {"name": None},
        {"scopes": []},
        {"scopes": None},
        {"scopes": ["root"]},
        {"scopes": "admin"},
        {"expiresAt": "2026-01-01T00:00:00Z"},
        {"expiresAt": "tomorrow"},
        {"namespace": "other"},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    assert Log().refused("key.create", key_body(made(1)) | wrong)[0] == "bad-key"


def test_a_public_id_is_one_keys_in_all_namespaces() -> None:
    log = Log()
    log.do("key.create", key_body(made(1)))
    assert log.refused("key.create", key_body(made(1)), namespace="other")[0] == "key-conflict"


def test_rotation_overlaps() -> None:
    log = Log()
    log.do("key.create", key_body(made(1), scopes=["query"]))
    new = {"newId": made(2).public, "hash": made(2).hash, "last4": made(2).last4}
    reply = log.do("key.rotate", {"id": made(1).public, **new, "overlapS": 60})
    assert reply["key"]["scopes"] == ["query"] and reply["old"]["rotatedTo"] == made(2).public
    old, young = stored(log, made(1).public), stored(log, made(2).public)
    assert old.holds(AT_MS + 59_999) and not old.holds(AT_MS + 60_000)
    assert young.holds(AT_MS + 365 * DAY_MS) and check(parse(made(2).text).secret, young.hash)
    again = {"newId": made(3).public, "hash": made(3).hash, "last4": made(3).last4}
    assert log.refused("key.rotate", {"id": made(1).public, **again})[0] == "key-conflict"  # it was, already
    log.do("key.rotate", {"id": made(2).public, **again})


def test_rotation_widens_no_end() -> None:
    log = Log()
    log.do("key.create", key_body(made(1), expiresAt="2026-01-01T01:00:00Z"))
    new = {"newId": made(2).public, "hash": made(2).hash, "last4": made(2).last4}
    log.do("key.rotate", {"id": made(1).public, **new})
    for one in (1, 2):
        assert stored(log, made(one).public).expires_at_ms == AT_MS + 3_600_000


def test_a_key_that_ended_is_not_rotated() -> None:
    log = Log()
    log.do("key.create", key_body(made(1), expiresAt="2026-01-01T01:00:00Z"))
    new = {"id": made(1).public, "newId": made(2).public, "hash": made(2).hash, "last4": made(2).last4}
    assert log.refused("key.rotate", new, at_ms=AT_MS + 3_600_000)[0] == "key-conflict"


def test_a_revoked_key_opens_nothing_for_ever() -> None:
    log = Log()
    log.do("key.create", key_body(made(1)))
    log.do("key.revoke", {"id": made(1).public})
    key = stored(log, made(1).public)
    assert key.revoked_at and not key.holds(AT_MS) and not check(parse(made(1).text).secret, key.hash)
    revision = log.revision
    log.do("key.revoke", {"id": made(1).public})
    assert log.revision == revision
    assert log.refused("key.create", key_body(made(1)))[0] == "key-conflict"  # not even the same again


def test_another_namespaces_key_is_not_there() -> None:
    log = Log()
    log.do("key.create", key_body(made(1)))
    assert log.refused("key.revoke", {"id": made(1).public}, namespace="other")[0] == "not-found"


def test_no_hash_and_no_secret_in_what_is_published() -> None:
    log = Log()
    log.do("key.create", key_body(made(1)))
    log.do("key.revoke", {"id": made(1).public})
    published = repr(log.audit) + repr(log.replies)
    assert made(1).public in published and made(1).hash not in published
    assert "hash" not in api_key.shown({"hash": "a"})


def asked_by(log: Log, scopes: list[str], **more: Any) -> str:
    """The public id of a key with these scopes, which then sends commands."""
    key = made(200 + len(log.state))
    log.do("key.create", key_body(key, scopes=scopes, **more))
    return key.public


def outcome(log: Log, actor: str, kind: str, body: dict[str, Any], at_ms: int = AT_MS) -> str:
    """The reason of the refusal, or nothing."""
    command = msgspec.structs.replace(log.command(kind, body), actor=actor)
    return log.run(command, at_ms).reply.error


VERBS = ("create", "rotate", "revoke")
TABLE = [
    (["keys:write"], ["ingest"], False),
    (["keys:write"], ["admin"], False),
    (["keys:write"], ["keys:write"], True),
    (["keys:write", "ingest"], ["ingest"], True),
    (["keys:write", "ingest"], ["ingest", "query"], False),
    (["keys:write", "ingest", "query"], ["ingest", "query"], True),
    (["admin"], ["admin"], True),
    (["admin"], list(SCOPES), True),
    ([scope for scope in SCOPES if scope != "admin"], ["admin"], False),
    ([scope for scope in SCOPES if scope != "admin"], ["ingest", "billing:write"], True),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("asking", "other", "may"), TABLE, ids=str)
def test_no_verb_reaches_beyond_the_asking_keys_scopes(
    verb: str, asking: list[str], other: list[str], may: bool
) -> None:
    log = Log()
    asked_by(log, ["admin"])  # so that the last one is never at stake
    actor = asked_by(log, asking)
    target = asked_by(log, other)
    new = made(100)
    named = {"hash": new.hash, "last4": new.last4}
    body = {
        "create": key_body(new, scopes=other),
        "rotate": {"id": target, "newId": new.public, **named},
        "revoke": {"id": target},
    }[verb]
    assert outcome(log, actor, f"key.{verb}", body) == ("" if may else "forbidden")


@pytest.mark.parametrize("verb", VERBS)
def test_a_key_that_has_ended_reaches_nothing(verb: str) -> None:
    log = Log()
    asked_by(log, ["admin"])
    target = asked_by(log, ["ingest"])
    ended = asked_by(log, ["admin"], expiresAt="2026-01-01T01:00:00Z")
    revoked = asked_by(log, ["admin"])
    log.do("key.revoke", {"id": revoked})
    new = made(100)
    body = {
        "create": key_body(new),
        "rotate": {"id": target, "newId": new.public, "hash": new.hash, "last4": new.last4},
        "revoke": {"id": target},
    }[verb]
    for actor, at_ms in ((ended, AT_MS + 3_600_000), (revoked, AT_MS)):
        assert outcome(log, actor, f"key.{verb}", body, at_ms) == "forbidden"
    assert outcome(log, ended, f"key.{verb}", body) == ""


def test_a_namespace_keeps_an_admin_key() -> None:
    log = Log()
    last = asked_by(log, ["admin"])
    asked_by(log, ["keys:write", "query"])
    assert outcome(log, last, "key.revoke", {"id": last}) == "key-conflict"
    soon = asked_by(log, ["admin"], expiresAt="2026-01-01T01:00:00Z")
    assert outcome(log, last, "key.revoke", {"id": last}) == "key-conflict"  # the other ends by itself
    assert outcome(log, last, "key.revoke", {"id": soon}) == ""
    other = asked_by(log, ["admin", "query"])
    assert outcome(log, last, "key.revoke", {"id": last}) == ""
    assert outcome(log, other, "key.revoke", {"id": other}) == "key-conflict"


def test_an_admin_key_of_another_namespace_does_not_count() -> None:
    log = Log()
    log.do("key.create", key_body(made(1), scopes=["admin"]))
    log.do("key.create", key_body(made(2), scopes=["admin"]), namespace="other")
    assert log.refused("key.revoke", {"id": made(1).public})[0] == "key-conflict"


def test_the_last_admin_key_goes_by_force_and_by_no_key() -> None:
    log = Log()
    last = asked_by(log, ["admin"])
    assert outcome(log, last, "key.revoke", {"id": last, "force": True}) == "forbidden"
    assert outcome(log, "kafka", "key.revoke", {"id": last, "force": "yes"}) == "bad-key"
    assert outcome(log, "kafka", "key.revoke", {"id": last}) == "key-conflict"
    assert outcome(log, "kafka", "key.revoke", {"id": last, "force": True}) == ""
    assert stored(log, last).revoked_at


def test_an_admin_key_that_is_rotated_leaves_its_successor() -> None:
    log = Log()
    old = asked_by(log, ["admin"])
    new = {"newId": made(2).public, "hash": made(2).hash, "last4": made(2).last4}
    assert outcome(log, old, "key.rotate", {"id": old, **new, "overlapS": 0}) == ""
    assert outcome(log, made(2).public, "key.revoke", {"id": made(2).public}) == "key-conflict"
