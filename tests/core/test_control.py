"""Every kind of command, accepted and refused, and the laws of the log."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.control import Decision
from pipeline.core.definitions.index import key
from pipeline.core.metering.meter import Meter
from pipeline.core.values.ulid import is_ulid
from pipeline.errors import Broken
from pipeline.records import Command, Definition
from tests.fixtures.control_log import AT, AT_MS
from tests.fixtures.control_log import Log as Deciding

TOKENS: dict[str, Any] = {
    "slug": "tokens",
    "eventType": "prompt",
    "aggregation": "SUM",
    "valueProperty": "$.tokens",
    "groupBy": {"model": "$.model"},
}
CALLS: dict[str, Any] = {"slug": "calls", "eventType": "request", "aggregation": "COUNT"}


class Log(Deciding):
    """With the commands about meters at hand."""

    def apply(self, *meters: dict[str, Any], namespace: str = "default") -> Decision:
        return self.run(self.command("meter.apply", {"meters": list(meters)}, namespace))

    def create(self, meter: dict[str, Any]) -> Decision:
        return self.run(self.command("meter.create", meter))

    def delete(self, slug: object) -> Decision:
        return self.run(self.command("meter.delete", {"slug": slug}))

    def meter_id(self, slug: str) -> int | None:
        meter = Meter.of(self.state.get(key("default", "meter", slug)))
        return None if meter is None else meter.meter_id


def test_a_list_is_applied_with_one_revision_each() -> None:
    decision = Log().apply(TOKENS, CALLS)
    assert [(d.revision, d.name, d.namespace, d.actor, d.at_ms) for d in decision.definitions] == [
        (1, "tokens", "default", "ann", AT_MS),
        (2, "calls", "default", "ann", AT_MS),
    ]
    assert (decision.reply.id, decision.reply.revision, decision.reply.error) == ("c1", 2, "")
    at = {"createdAt": AT, "updatedAt": AT}
    meters = decision.reply.body["meters"] if decision.reply.body else None
    assert isinstance(meters, list)
    assert [{name: value for name, value in meter.items() if name != "id"} for meter in meters] == [
        {**TOKENS, "name": "tokens", "meterId": 1, **at, "revision": 1},
        {**CALLS, "name": "calls", "meterId": 2, **at, "revision": 2},
    ]
    assert all(is_ulid(meter["id"]) for meter in meters) and meters[0]["id"] != meters[1]["id"]


def test_one_definition_needs_no_list() -> None:
    log = Log()
    assert [d.name for d in log.run(log.command("meter.apply", TOKENS)).definitions] == ["tokens"]


def test_the_same_definition_again_changes_nothing_and_answers_alike() -> None:
    log = Log()
    first = log.apply(TOKENS)
    again = log.apply({**TOKENS, "name": "tokens"})  # the default written out
    assert again.definitions == []
    assert (again.reply.revision, again.reply.body) == (1, first.reply.body)


@pytest.mark.parametrize(
    "changed",
    [
        {"groupBy": {"model": "$.model", "kind": "$.kind"}},
        {"groupBy": {}},
        {"name": "Tokens"},
        {"description": "what was written"},
        {"metadata": {"team": "ml"}},
    ],
)
def test_allowed_changes_keep_the_meter_id(changed: dict[str, Any]) -> None:
    log = Log()
    log.apply(CALLS, TOKENS)
    (definition,) = log.apply(TOKENS | changed).definitions
    assert (definition.revision, log.meter_id("tokens")) == (3, 2)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"eventType": "other"}, "event type"),
        ({"aggregation": "AVG"}, "aggregation"),
        ({"valueProperty": "$.other"}, "value property"),
        ({"aggregation": "COUNT", "valueProperty": None}, "aggregation"),
    ],
)
def test_forbidden_changes_are_a_conflict(changed: dict[str, Any], named: str) -> None:
    log = Log()
    log.apply(TOKENS)
    decision = log.apply(TOKENS | changed)
    assert (decision.definitions, decision.reply.error, decision.reply.revision) == ([], "meter-conflict", 1)
    assert named in decision.reply.detail and "tokens" in decision.reply.detail


@pytest.mark.parametrize(
    ("meter", "detail"),
    [
        ({**TOKENS, "slug": ""}, "meter slug is required"),
        ({**TOKENS, "eventType": ""}, "meter event type is required"),
        ({**TOKENS, "aggregation": ""}, "meter aggregation is required"),
        (
            {**CALLS, "valueProperty": "$.x"},
            "meter value property is not allowed when the aggregation is count",
        ),
        ({**TOKENS, "groupBy": {"": "$.x"}}, "meter group by key cannot be empty"),
        (
            {**TOKENS, "groupBy": {"a": "$.tokens"}},
            "meter group by value a cannot be the same as value property",
        ),
    ],
)
def test_bad_meters_are_refused_in_openmeters_words(meter: dict[str, Any], detail: str) -> None:
    decision = Log().apply(meter)
    assert (decision.definitions, decision.reply.error, decision.reply.detail) == ([], "bad-meter", detail)


def test_a_list_with_one_bad_meter_changes_nothing() -> None:
    decision = Log().apply(TOKENS, {**CALLS, "aggregation": "MEDIAN"})
    assert (decision.definitions, decision.reply.error, decision.revision) == ([], "bad-meter", 0)


def test_a_list_that_names_a_slug_twice_changes_nothing() -> None:
    decision = Log().apply(TOKENS, TOKENS)
    assert (decision.definitions, decision.reply.error) == ([], "meter-conflict")


@pytest.mark.parametrize("body", [{"meters": {}}, {"meters": [1]}, {"meters": None}, {"meters": ["tokens"]}])
def test_what_is_no_list_of_meters_is_refused(body: dict[str, Any]) -> None:
    log = Log()
    assert log.run(log.command("meter.apply", body)).reply.error == "bad-meter"


def test_an_empty_list_is_nothing_to_do() -> None:
    decision = Log().apply()
    assert (decision.definitions, decision.reply.error, decision.reply.body) == ([], "", {"meters": []})


def test_create_refuses_what_exists_even_if_identical() -> None:
    log = Log()
    assert log.create(TOKENS).reply.error == ""
    decision = log.create(TOKENS)
    assert (decision.definitions, decision.reply.error) == ([], "meter-conflict")
    assert decision.reply.detail == "A meter with the slug tokens exists already."


def test_a_deleted_slug_recreated_is_another_meter() -> None:
    log = Log()
    log.apply(TOKENS)
    (deleted,) = log.delete("tokens").definitions
    assert (deleted.revision, deleted.body, log.meter_id("tokens")) == (2, None, None)
    recreated = {**TOKENS, "aggregation": "MAX"}
    assert log.create(recreated).reply.error == ""
    assert log.meter_id("tokens") == 3


@pytest.mark.parametrize("slug", ["calls", "", None, 7])
def test_deleting_what_is_not_there(slug: object) -> None:
    log = Log()
    log.apply(TOKENS)
    decision = log.delete(slug)
    assert (decision.definitions, decision.reply.error, decision.reply.revision) == ([], "not-found", 1)


def test_deleting_twice() -> None:
    log = Log()
    log.apply(TOKENS)
    log.delete("tokens")
    assert log.delete("tokens").reply.error == "not-found"


def test_namespaces_do_not_share_slugs() -> None:
    log = Log()
    log.apply(TOKENS)
    log.apply({**TOKENS, "aggregation": "MAX"}, namespace="other")
    assert set(log.state) == {"default/meter/tokens", "other/meter/tokens"}


def test_an_unknown_kind_is_refused() -> None:
    log = Log()
    assert log.run(log.command("meter.rename", {})).reply.error == "bad-command"


def test_there_is_no_meter_of_nothing_of_other_kinds_and_of_deleted_ones() -> None:
    assert Meter.of(None) is None
    assert Meter.of(Definition(1, "plan", "default", "pro", "ann", 0, {"a": 1})) is None
    assert Meter.of(Definition(1, "meter", "default", "tokens", "ann", 0, None)) is None


def test_a_stored_meter_without_its_id_stops_us() -> None:
    with pytest.raises(Broken):
        Meter.of(Definition(1, "meter", "default", "tokens", "ann", 0, {**TOKENS, "meterId": "1"}))


commands = st.one_of(
    st.tuples(
        st.just("meter.apply"),
        st.lists(
            st.fixed_dictionaries(
                {
                    "slug": st.sampled_from(["a", "b", "c"]),
                    "eventType": st.sampled_from(["t", "u"]),
                    "aggregation": st.sampled_from(["COUNT", "MEDIAN"]),
                    "name": st.sampled_from(["x", "y"]),
                }
            ),
            max_size=3,
        ).map(lambda meters: {"meters": meters}),
    ),
    st.tuples(st.just("meter.delete"), st.fixed_dictionaries({"slug": st.sampled_from(["a", "b", "c"])})),
)


@given(st.lists(commands, max_size=12))
def test_revisions_grow_by_one(script: list[tuple[str, dict[str, Any]]]) -> None:
    log = Log()
    for kind, body in script:
        command = log.command(kind, body)
        before = log.revision
        decision = log.run(command)
        assert [d.revision for d in decision.definitions] == list(range(before + 1, log.revision + 1))
        assert decision.reply.error == "" or decision.definitions == []
        for meter in (decision.reply.body or {}).get("meters", []) if not decision.reply.error else []:
            assert log.state[key("default", "meter", meter["slug"])].revision == meter["revision"]
    ids = [d.body["meterId"] for d in log.state.values() if d.body is not None]
    assert len(set(ids)) == len(ids)


FEATURE: dict[str, Any] = {
    "key": "gpt",
    "name": "GPT",
    "meterSlug": "tokens",
    "meterGroupByFilters": {"model": "large"},
}


def test_an_update_replaces_what_may_change() -> None:
    log = Log()
    log.apply({**TOKENS, "description": "old", "metadata": {"a": "b"}})
    new = log.do("meter.update", {"slug": "tokens", "groupBy": {"m": "$.model"}, "metadata": {"c": "d"}})
    assert (new["name"], new["groupBy"], new["metadata"]) == ("tokens", {"m": "$.model"}, {"c": "d"})
    assert "description" not in new and new["aggregation"] == "SUM" and log.meter_id("tokens") == 1
    before = [{"until": log.revision, "groupBy": {"model": "$.model"}}]
    assert new["earlierGroupBy"] == log.body("meter", "tokens")["earlierGroupBy"] == before
    assert log.do("meter.update", {**new, "name": "Tokens"})["name"] == "Tokens"  # a client sends all back
    revision = log.revision
    stored = log.body("meter", "tokens")
    assert log.do("meter.update", stored) == {**stored, "revision": revision}
    assert log.revision == revision


def test_an_update_cannot_change_what_is_counted() -> None:
    log = Log()
    log.apply(TOKENS)
    assert log.refused("meter.update", {"slug": "tokens", "aggregation": "MAX"})[0] == "meter-conflict"
    assert log.refused("meter.update", {"slug": "tokens", "unit": "kg"})[0] == "bad-meter"
    assert log.refused("meter.update", {"slug": "calls"})[0] == "not-found"


def test_a_group_by_key_that_a_feature_filters_by_stays() -> None:
    log = Log()
    log.apply({**TOKENS, "groupBy": {"model": "$.model", "kind": "$.kind"}})
    feature = log.do("feature.create", FEATURE)
    log.do("meter.update", {"slug": "tokens", "groupBy": {"model": "$.model"}})  # no reader needs `kind`
    reason, detail = log.refused("meter.update", {"slug": "tokens", "groupBy": {}})
    assert reason == "meter-conflict" and "model" in detail and "gpt" in detail
    assert log.refused("meter.apply", {**TOKENS, "groupBy": {}})[0] == "meter-conflict"
    log.do("feature.archive", {"id": feature["id"]})
    log.do("meter.update", {"slug": "tokens", "groupBy": {}})


def test_a_meter_that_a_feature_uses_stays() -> None:
    log = Log()
    log.apply(TOKENS)
    log.do("feature.create", FEATURE)
    reason, detail = log.refused("meter.delete", {"slug": "tokens"})
    assert reason == "meter-conflict" and "gpt" in detail
    log.do("feature.archive", {"id": "gpt"})
    log.do("meter.delete", {"slug": "tokens"})


@pytest.mark.parametrize("namespace", ["", "a/b", "A", "-a", "a" * 64])
def test_a_namespace_that_is_none_is_refused(namespace: str) -> None:
    assert Log().refused("customer.create", {"name": "Acme"}, namespace)[0] == "bad-command"


@pytest.mark.parametrize("id", ["", "x" * 129])
def test_a_command_needs_an_id(id: str) -> None:
    assert (
        Log().run(Command(id, "customer.create", "default", "ann", 1, {"name": "a"})).reply.error
        == "bad-command"
    )
