"""What the API holds open while it runs: views of compacted topics, commands, ClickHouse, Redis.

Owns: opening and closing them together, how long the API waits for each. Does not own: what is asked of them (the
routes), how many requests wait for one at once (bulkheads).
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from functools import partial
from typing import Self

from fastapi import Request

from pipeline.api.http.bulkheads import KAFKA_SILENT_S, Bulkheads
from pipeline.api.http.large_answers import LargeAnswers
from pipeline.api.http.pace import Pace
from pipeline.api.http.worker_rates import Rates
from pipeline.core.metering.partition_splits import EventPartitions
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse, Patience
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topic_ids, topics
from pipeline.stores.kafka.alerts import AlertsView, DeliveriesView, LateView
from pipeline.stores.kafka.audit import AuditLog
from pipeline.stores.kafka.awaited_commands import AwaitedCommands
from pipeline.stores.kafka.billing_commands import BillingCommands
from pipeline.stores.kafka.bills import BillsView
from pipeline.stores.kafka.commands import Commands
from pipeline.stores.kafka.definitions import (
    BackfillsView,
    CompactedView,
    CountsView,
    Definitions,
    Replies,
    WorkersView,
)
from pipeline.stores.kafka.event_writer import EventLog
from pipeline.stores.kafka.invoice_roots import InvoiceRootsView
from pipeline.stores.kafka.metered_types import MeteredTypes
from pipeline.stores.kafka.stripe_reports import StripeReportLog, StripeReportsView
from pipeline.stores.redis_balances import BalanceReader, Keys

CONNECT_S = 0.5  # to ClickHouse, and for an idle connection to prove that it is open
PAGE_S = 300  # for one page of a recount or a report
PROBE_S = 1.5  # for ClickHouse to say that it is there: /status has its answer within 2 s
TOPIC_READ_S = 30.0  # for a topic to be read to its end, as long as it makes progress


def patience(settings: Settings) -> Patience:
    """How long and for how much the API waits for ClickHouse."""
    return Patience(
        connect_s=CONNECT_S,
        ping_s=CONNECT_S,
        answer_s=settings.clickhouse_silence_s,
        answer_bytes=settings.clickhouse_answer_bytes,
        execution_s=settings.clickhouse_query_s,
    )


class Services:
    """All that a route may ask outside this process. The API starts even when none of it answers yet."""

    def __init__(
        self,
        settings: Settings,
        clickhouse: ClickHouse | None = None,
        balances: BalanceReader | None = None,
    ) -> None:
        """clickhouse, balances: where this process holds them already; else those that the settings name."""
        self.settings = settings
        self.bulkheads = Bulkheads.of(settings)
        self.definitions = Definitions(settings)
        self.backfills = BackfillsView(settings)
        self.counts = CountsView(settings)
        self.metered = MeteredTypes(self.definitions)
        self.events = EventLog(settings)
        self.audit = AuditLog(settings)
        self.workers = WorkersView(settings)
        self.replies = Replies(settings)
        self.rates = Rates()
        password = settings.clickhouse_password.get_secret_value()
        self.clickhouse = clickhouse or connect(settings.clickhouse, password, patience(settings))
        # For what reads page by page: pages have their own size.
        self.clickhouse_pages = clickhouse or connect(
            settings.clickhouse, password, replace(patience(settings), answer_bytes=0, execution_s=PAGE_S)
        )
        self.large_answers = LargeAnswers()
        self._clickhouse_probe = clickhouse or connect(
            settings.clickhouse, password, Patience(connect_s=CONNECT_S, ping_s=CONNECT_S, answer_s=PROBE_S)
        )
        self.workers.on_change(self.rates.add)
        self.commands = Commands(settings, self.replies, self.workers)
        self._awaited: AwaitedCommands | None = None
        self.bills = BillsView(settings)
        self.invoice_roots = InvoiceRootsView(settings)
        self.billing_commands = BillingCommands(settings, self.replies)
        self._event_partitions: EventPartitions | None = None
        self._balances = balances
        self._balances_open: asyncio.Task[BalanceReader] | None = None
        self._alerts: AlertsView | None = None
        self._deliveries: DeliveriesView | None = None
        self._late: LateView | None = None
        self._reports: StripeReportsView | None = None
        self.stripe_log = StripeReportLog(settings)
        self.stripe_pace = Pace()
        self._opening = threading.Lock()

    def _views(self) -> tuple[CompactedView[object], ...]:
        views = (
            self.definitions,
            self.backfills,
            self.counts,
            self.workers,
            self.replies,
            *self.bills.views(),
            self.invoice_roots,
        )
        return views  # type: ignore[return-value]

    def __enter__(self) -> Self:
        for view in self._views():
            view.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops following the topics and gives up connections; who still waits for ClickHouse waits no more."""
        self.events.close()
        self.commands.close()
        if self._awaited is not None:
            self._awaited.close()
        self.billing_commands.close()
        self.audit.close()
        self.stripe_log.close()
        for store in (self.clickhouse, self.clickhouse_pages):
            store.interrupt()
            store.close()
        for view in self._views():
            view.close()
        for asked in (self._alerts, self._deliveries, self._late, self._reports):
            if asked is not None:
                asked.close()

    def alerts(self) -> AlertsView:
        """Alerts that fired, read from the first question on. Raises Unavailable."""
        with self._opening:
            if self._alerts is None:
                self._alerts = AlertsView(self.settings).start()
        self._alerts.wait_loaded(TOPIC_READ_S, KAFKA_SILENT_S)
        return self._alerts

    def deliveries(self) -> DeliveriesView:
        """Deliveries of alerts, read from the first question on. Raises Unavailable."""
        with self._opening:
            if self._deliveries is None:
                self._deliveries = DeliveriesView(self.settings).start()
        self._deliveries.wait_loaded(TOPIC_READ_S, KAFKA_SILENT_S)
        return self._deliveries

    def late(self) -> LateView:
        """Late usage of balances, read from the first question on. Raises Unavailable."""
        with self._opening:
            if self._late is None:
                self._late = LateView(self.settings).start()
        self._late.wait_loaded(TOPIC_READ_S, KAFKA_SILENT_S)
        return self._late

    def stripe_reports(self) -> StripeReportsView:
        """Error reports of Stripe, read from the first question on. Raises Unavailable."""
        with self._opening:
            if self._reports is None:
                self._reports = StripeReportsView(self.settings).start()
        self._reports.wait_loaded(TOPIC_READ_S, KAFKA_SILENT_S)
        return self._reports

    def awaited(self) -> AwaitedCommands:
        """The commands of this process's event loop, in which it is called."""
        if self._awaited is None:
            self._awaited = AwaitedCommands(self.commands, self.replies, self.definitions, self.workers)
        return self._awaited

    def event_partitions(self) -> EventPartitions:
        """The partitions of `events-unique`, as they were at the first call: after a raise the API is restarted."""
        if self._event_partitions is None:
            number = topics.load(self.settings)["events-unique"].partitions
            self._event_partitions = topic_ids.event_partitions(self.settings, number)
        return self._event_partitions

    async def balances(self) -> BalanceReader:
        """The copy of balances in Redis. Raises Unavailable."""
        if self._balances is None:
            if self._balances_open is None or self._balances_open.done():
                self._balances_open = asyncio.create_task(self._open_balances())  # for all that ask meanwhile
            self._balances = await asyncio.shield(self._balances_open)
        return self._balances

    async def _open_balances(self) -> BalanceReader:
        if not self.settings.redis:
            raise Unavailable("Balances are served from Redis, and the setting redis is empty.")
        ids = await self.bulkheads.kafka.run(
            partial(kafka.topic_ids, self.settings, ["balances"], KAFKA_SILENT_S)
        )
        if "balances" not in ids:
            raise Unavailable("The topic balances is missing; `tallymark topics apply` makes it.")
        keys = Keys(ids["balances"], topics.load(self.settings)["balances"].partitions)
        return BalanceReader(self.settings.redis, self.settings.redis_password.get_secret_value(), keys)

    def clickhouse_answers(self) -> None:
        """Returns when ClickHouse answers. Raises Unavailable."""
        try:
            self._clickhouse_probe.ping()
        finally:
            self._clickhouse_probe.close()  # an idle connection would have to prove itself first


def services_of(request: Request) -> Services:
    """The Services of the app that serves `request`."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services
