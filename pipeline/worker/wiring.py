"""The parts of each stage: the only place that knows what a stage needs.

Owns: one function per stage. Does not own: running it (worker.process), its work (its agent). A stage's modules are
imported only by the process that runs it, so that no worker loads the libraries of another stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pipeline.agents.definitions import DefinitionsFollower, MetersFollower
from pipeline.core.customers.attribution import Holders
from pipeline.core.metering.http_batch import TOPIC as HTTP_EVENTS
from pipeline.engine.partition import Spec
from pipeline.engine.stage import Stage
from pipeline.errors import Rejected
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics
from pipeline.stores.kafka.consumer_groups import group_of
from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.writer import KafkaWriter
from pipeline.stores.readiness import Ask

FOREVER_MS = 1 << 62  # an input without retention may be read again at any time: nothing is swept
Declared = Mapping[str, Topic]


@dataclass(frozen=True)
class StageWiring:
    """The parts of a stage.

    spec: what it reads and stores. create: adds its agents. follows: the definitions that it uses. needs: checks of the
    services that it needs besides Kafka.
    """

    spec: Spec
    create: Callable[[Stage], None]
    follows: DefinitionsFollower | None = None
    needs: Mapping[str, Ask] = field(default_factory=dict)


def wire(stage: str, settings: Settings, declared: Declared) -> StageWiring:
    """The parts of a stage. Raises Rejected if there is no such stage, or if a setting that it needs is empty."""
    made = _STAGES.get(stage)
    if made is None:
        raise Rejected("unknown-stage", f"There is no stage {stage!r}; the stages are {', '.join(_STAGES)}.")
    parts = made(settings, declared)
    if parts.spec.meta is None:
        return parts
    return replace(parts, spec=replace(parts.spec, shards=declared[parts.spec.meta].partitions))


def _namespaces(declared: Declared) -> dict[str, str]:
    return {name: topic.namespace for name, topic in declared.items() if topic.namespace is not None}


def _clickhouse(settings: Settings) -> Ask:
    """A check of ClickHouse, on a connection of its own."""
    from pipeline.stores.clickhouse.connect import connect

    return connect(settings.clickhouse, settings.clickhouse_password.get_secret_value()).ping


def _ingest(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import ingest
    from pipeline.core.metering.event import Limits

    namespaces = _namespaces(declared)
    limits = Limits(
        horizon_s=settings.horizon_s,
        future_limit_s=settings.future_limit_s,
        max_event_bytes=settings.max_event_bytes,
    )
    partitions = declared["events-accepted"].partitions
    return StageWiring(
        Spec("ingest", (*namespaces, HTTP_EVENTS), "ingest-meta", resizable=(*namespaces, HTTP_EVENTS)),
        lambda made: ingest.create(made, namespaces, partitions, limits),
    )


def _dedupe(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import dedupe

    partitions = declared["events-unique"].partitions
    kept_ms = [declared[name].retention_ms for name in (*_namespaces(declared), HTTP_EVENTS)]
    lag_ms = max(kept_ms) if topics.FOREVER not in kept_ms else FOREVER_MS
    return StageWiring(
        Spec("dedupe", ("events-accepted",), "dedupe-meta", dedupe.CHANGELOG),
        lambda made: dedupe.create(
            made, partitions, (settings.horizon_s + settings.future_limit_s) * 1000, lag_ms
        ),
    )


def _aggregate(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import aggregate

    meters = MetersFollower(settings)
    return StageWiring(
        Spec("aggregate", ("events-unique",), "aggregate-meta", aggregate.CHANGELOG),
        lambda made: aggregate.create(made, meters.current, settings.horizon_s),
        meters,
    )


def _sink(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import sink, sink_rows

    return StageWiring(
        Spec("sink", sink_rows.INPUTS),
        lambda made: sink.create(made, settings),
        needs={"clickhouse": _clickhouse(settings)},
    )


def _backfill(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import backfill
    from pipeline.stores.clickhouse.connect import connect

    store = connect(settings.clickhouse, settings.clickhouse_password.get_secret_value())
    meters = MetersFollower(settings)
    return StageWiring(
        Spec("backfill", (backfill.TOPIC,), "backfill-meta", backfill.CHANGELOG),
        lambda made: backfill.create(made, store, meters.current, declared["usage"].partitions),
        meters,
        {"clickhouse": _clickhouse(settings)},
    )


def _attribute(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import attribute

    holders = Holders()
    following = DefinitionsFollower(settings, holders.update)
    partitions = declared["customer-usage"].partitions
    return StageWiring(
        Spec("attribute", ("usage",), "attribute-meta", attribute.CHANGELOG),
        lambda made: attribute.create(made, holders, lambda: following.revision, partitions),
        following,
    )


def _alert(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import alert
    from pipeline.agents.alert_seeding import Seeding
    from pipeline.agents.clock import ASK_AGAIN_S, Agenda, Clock
    from pipeline.stores.clickhouse.connect import connect

    agenda, partitions = Agenda(), declared[alert.INPUT].partitions
    known = alert.Known(agenda, partitions)
    seeding = Seeding(
        KafkaWriter(settings, "windows"),
        connect(settings.clickhouse, settings.clickhouse_password.get_secret_value()),
        known.holders,
        partitions,
        agenda.add,
    )

    def create(made: Stage) -> None:
        alert.create(made, known, seeding)
        Clock(
            KafkaWriter(settings, "clock records", ASK_AGAIN_S), alert.INPUT, agenda, alert.clock_value
        ).start()
        seeding.start(made.fail)

    return StageWiring(
        Spec("alert", (alert.INPUT,), "alert-meta", alert.CHANGELOG),
        create,
        DefinitionsFollower(settings, known.update),
    )


def _live(settings: Settings, declared: Declared) -> StageWiring:
    if not settings.redis:
        raise Rejected("no-redis", "The stage live copies balances to Redis, but the setting redis is empty.")
    from pipeline.agents import live
    from pipeline.stores import redis_probe
    from pipeline.stores.redis_balances import BalanceWriter, Keys

    keys = Keys(kafka.topic_ids(settings, [live.INPUT])[live.INPUT], declared[live.INPUT].partitions)
    writer = BalanceWriter(settings.redis, settings.redis_password.get_secret_value(), keys)
    return StageWiring(
        Spec("live", (live.INPUT,)),
        lambda made: live.create(made, writer),
        needs={"redis": lambda: redis_probe.writes(settings)},
    )


def _webhook(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import webhook
    from pipeline.agents.webhook_endpoints import Endpoints
    from pipeline.core.values.sealed import Seal

    endpoints = Endpoints(Seal.of(settings.secrets_key.get_secret_value()))
    partitions = declared[webhook.WORK].partitions
    inputs = (webhook.ALERTS, webhook.WORK)
    return StageWiring(
        Spec("webhook", inputs, "webhook-meta", webhook.CHANGELOG, stateless=(webhook.ALERTS,)),
        lambda made: webhook.create(made, settings, partitions, endpoints),
        DefinitionsFollower(settings, endpoints.update),
    )


def _control(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import control, control_answers

    partitions = control.Partitions(declared["backfill-work"].partitions, declared["webhook-work"].partitions)
    config = kafka.client_config(settings) | {"log_level": 0}
    read_answers = control_answers.reader(config, group_of("control"))
    return StageWiring(
        # A caller waits for each command; commands that arrive during a commit are decided together.
        Spec("control", ("commands",), "control-meta", control.CHANGELOG, gathers=False),
        lambda made: control.create(made, partitions, read_answers),
    )


_STAGES: Mapping[str, Callable[[Settings, Declared], StageWiring]] = {
    "ingest": _ingest,
    "dedupe": _dedupe,
    "aggregate": _aggregate,
    "sink": _sink,
    "backfill": _backfill,
    "attribute": _attribute,
    "alert": _alert,
    "live": _live,
    "webhook": _webhook,
    "control": _control,
}
