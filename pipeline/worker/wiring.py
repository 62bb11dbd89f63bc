"""The parts of each stage: the only place that knows what a stage needs.

Owns: one function per stage. Does not own: running it (worker.process), its work (its agent). A stage's modules are
imported only by the process that runs it, so that no worker loads the libraries of another stage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pipeline.agents.definitions import DefinitionsFollower, MetersFollower
from pipeline.core.billing.feature_meters import FeatureMeters
from pipeline.core.billing.stripe_mappings import StripeDefinitions
from pipeline.core.customers.attribution import Holders
from pipeline.core.metering.http_batch import TOPIC as HTTP_EVENTS
from pipeline.engine.partition import Spec
from pipeline.engine.stage import Stage
from pipeline.errors import Rejected
from pipeline.settings import Settings
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topic_ids, topics
from pipeline.stores.kafka.consumer_groups import group_of
from pipeline.stores.kafka.topic import Topic
from pipeline.stores.kafka.writer import KafkaWriter
from pipeline.stores.readiness import Ask

FOREVER_MS = 1 << 62  # an input without retention may be read again at any time: nothing is swept
# While ingest is behind, the size of its chunks decides that of the stages after it: larger ones need fewer
# transactions. One chunk is then some 30,000 events of 250 bytes, and a third of a second of work.
INGEST_FETCH_BYTES, INGEST_CHUNK_BYTES = 2 << 20, 8 << 20
Declared = Mapping[str, Topic]
NowMs = Callable[[], int]
LEASE_OF_SESSION = 0.8  # how long a commit allows calls; a frozen worker loses its partitions after a session
OUTCOME_WRITTEN_S = 300.0  # a call whose outcome is not recorded is repeated, so this is long


@dataclass(frozen=True)
class StageWiring:
    """The parts of a stage.

    spec: what it reads and stores. create: adds its agents. follows: the definitions that it uses. needs: checks of the
    services that it needs besides Kafka. failing: why one of them refuses its work now; empty: none does.
    """

    spec: Spec
    create: Callable[[Stage], None]
    follows: DefinitionsFollower | None = None
    needs: Mapping[str, Ask] = field(default_factory=dict)
    failing: Callable[[], str] = lambda: ""


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
        Spec(
            "ingest",
            (*namespaces, HTTP_EVENTS),
            "ingest-meta",
            resizable=(*namespaces, HTTP_EVENTS),
            fetch_bytes=INGEST_FETCH_BYTES,
            chunk_bytes=INGEST_CHUNK_BYTES,
        ),
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

    last, ping = sink.LastWrite(), _clickhouse(settings)

    def takes_rows() -> None:
        ping()
        last.require()

    return StageWiring(
        Spec("sink", sink_rows.INPUTS),
        lambda made: sink.create(made, settings, last),
        needs={"clickhouse": takes_rows},
        failing=lambda: last.failure,
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

    holders, mapped, billed = Holders(), StripeDefinitions(), FeatureMeters()
    following = DefinitionsFollower(settings, holders.update, mapped.update, billed.update)
    partitions = declared["customer-usage"].partitions

    def meters_of() -> attribute.MetersOf:
        return {attribute.STRIPE: mapped.meters, attribute.BILLING: billed.meters}

    return StageWiring(
        Spec("attribute", ("usage",), "attribute-meta", attribute.CHANGELOG),
        lambda made: attribute.create(made, holders, meters_of, lambda: following.revision, partitions),
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
        usage_partitions=declared["usage"].partitions,
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
    from pipeline.agents.live_rebuild import INPUT as BALANCES
    from pipeline.stores import redis_probe
    from pipeline.stores.redis_balances import BalanceWriter, Keys

    keys = Keys(kafka.topic_ids(settings, [BALANCES])[BALANCES], declared[BALANCES].partitions)
    writer = BalanceWriter(settings.redis, settings.redis_password.get_secret_value(), keys)
    return StageWiring(
        Spec("live", (BALANCES,)),
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


def stripe_sync(settings: Settings, declared: Declared, clock: NowMs | None = None) -> StageWiring:
    """The parts of the stage stripe-sync. clock: one that is ahead of the broker's, for tests; None: the machine's."""
    from pipeline.agents import stripe_sync as agent
    from pipeline.agents.alert_seeding import Seeding
    from pipeline.agents.clock import ASK_AGAIN_S, Agenda, Clock, wall_ms
    from pipeline.agents.stripe_accounts import StripeAccount, StripeAccounts
    from pipeline.agents.stripe_dispatch import CallKind, F, StripeDispatcher, StripeLimits
    from pipeline.agents.stripe_events import StripeEvents
    from pipeline.agents.stripe_invoice_calls import INVOICES_LIVE_S, INVOICES_TEST_S, StripeInvoiceCalls
    from pipeline.agents.usage_history import UsageHistory
    from pipeline.core.billing.stripe_state import StripeTerms
    from pipeline.core.values.sealed import Seal
    from pipeline.stores.clickhouse.connect import connect
    from pipeline.stores.stripe_api import StripeApi

    agenda, partitions = Agenda(), declared[agent.WORK].partitions
    accounts = StripeAccounts(Seal.of(settings.secrets_key.get_secret_value()), settings.stripe_address)
    known = agent.StripeKnown(agenda, accounts, partitions)
    store = connect(settings.clickhouse, settings.clickhouse_password.get_secret_value())
    seeding = Seeding(
        KafkaWriter(settings, "windows"),
        store,
        known.holders,
        partitions,
        agenda.add,
        agent.WORK,
        lambda: known.definitions.meters,
        usage_partitions=declared["usage"].partitions,
    )
    lease_s = settings.session_timeout_s * LEASE_OF_SESSION

    def api(account: StripeAccount) -> StripeApi:
        return StripeApi(account.key, settings.stripe_address, settings.stripe_timeout_s)

    def create(made: Stage) -> None:
        writer = KafkaWriter(settings, "outcomes of calls to Stripe", OUTCOME_WRITTEN_S)
        limits = StripeLimits(
            settings.stripe_live_events_s, settings.stripe_test_events_s, partitions, lease_s
        )
        of_invoices = limits._replace(live_s=INVOICES_LIVE_S, test_s=INVOICES_TEST_S)

        def dispatcher(kind: CallKind[F], its: StripeLimits) -> StripeDispatcher[F]:
            return StripeDispatcher(
                kind, made, accounts, api, writer.append, its, clock or wall_ms,
                lambda one: agenda.add(one, agent.PROOF),
            )  # fmt: skip

        dispatchers = agent.StripeDispatchers(
            dispatcher(StripeEvents(), limits), dispatcher(StripeInvoiceCalls(), of_invoices)
        )
        history = UsageHistory(known.subjects, seeding.add, agenda.add)
        late_ms = (settings.horizon_s + settings.future_limit_s) * 1_000
        terms = StripeTerms(
            grace_ms=settings.stripe_grace_s * 1_000, kept_ms=max(StripeTerms().kept_ms, late_ms)
        )
        agent.create(made, known, dispatchers, history, terms, int(lease_s * 1_000) // 3)
        ticking = KafkaWriter(settings, "clock records", ASK_AGAIN_S)
        encode = agent.clock_value(clock or (lambda: 0))
        Clock(ticking, agent.WORK, agenda, encode, clock or wall_ms).start()
        seeding.start(made.fail)

    return StageWiring(
        Spec(agent.NAME, (agent.WORK,), "stripe-sync-meta", agent.CHANGELOG),
        create,
        DefinitionsFollower(settings, known.update),
    )


def _billing(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import billing as agent
    from pipeline.agents.alert_seeding import Seeding
    from pipeline.agents.billing_history import BillingHistory
    from pipeline.agents.billing_settled import SettledWatcher
    from pipeline.agents.clock import ASK_AGAIN_S, Agenda, Clock
    from pipeline.agents.usage_history import UsageHistory
    from pipeline.core.bills.terms import BillTerms
    from pipeline.stores.clickhouse.connect import connect
    from pipeline.stores.kafka.stage_positions import StagePositions

    agenda, partitions = Agenda(), declared[agent.WORK].partitions
    known = agent.BillingKnown(agenda, partitions)
    seeding = Seeding(
        KafkaWriter(settings, "windows"),
        connect(settings.clickhouse, settings.clickhouse_password.get_secret_value()),
        known.holders,
        partitions,
        agenda.add,
        agent.WORK,
        lambda: known.billed.meters,
        usage_partitions=declared["usage"].partitions,
    )

    def create(made: Stage) -> None:
        terms = BillTerms(
            collect_anyway_s=settings.billing_collect_anyway_s,
            partitions=topic_ids.event_partitions(settings, declared["events-unique"].partitions),
        )
        history = BillingHistory(UsageHistory(known.subjects, seeding.add, agenda.add), terms.kept_s)
        marks = KafkaWriter(settings, "marks of settled usage")
        watcher = SettledWatcher(marks, StagePositions(settings), history.is_loaded)
        agent.create(made, known, history, watcher, terms)
        Clock(
            KafkaWriter(settings, "clock records", ASK_AGAIN_S), agent.WORK, agenda, agent.clock_value
        ).start()
        seeding.start(made.fail)
        watcher.start(made.fail)

    return StageWiring(
        Spec(agent.NAME, (agent.WORK,), "billing-meta", agent.CHANGELOG),
        create,
        DefinitionsFollower(settings, known.update),
    )


def _numbering(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import numbering

    partitions = declared[numbering.ANSWERS].partitions
    return StageWiring(
        Spec(numbering.NAME, (numbering.REQUESTS,), "numbering-meta", numbering.CHANGELOG),
        lambda made: numbering.create(made, partitions),
    )


def _control(settings: Settings, declared: Declared) -> StageWiring:
    from pipeline.agents import control, control_answers

    partitions = control.Partitions(
        *(declared[topic].partitions for topic in ("backfill-work", "webhook-work", "stripe-work"))
    )
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
    "stripe-sync": stripe_sync,
    "billing": _billing,
    "numbering": _numbering,
    "control": _control,
}
