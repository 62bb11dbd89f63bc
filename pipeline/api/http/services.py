"""What the API holds open while it runs: views of compacted topics, commands, ClickHouse.

Owns: opening and closing them together. Does not own: what is asked of them (the routes).
"""

from __future__ import annotations

import threading
from typing import Self

import anyio.to_thread
from fastapi import Request

from pipeline.api.http.worker_rates import Rates
from pipeline.errors import Unavailable
from pipeline.settings import Settings
from pipeline.stores.clickhouse.client import ClickHouse
from pipeline.stores.clickhouse.connect import connect
from pipeline.stores.kafka import client as kafka
from pipeline.stores.kafka import topics
from pipeline.stores.kafka.alerts import AlertsView, DeliveriesView, LateView
from pipeline.stores.kafka.audit import AuditLog
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
from pipeline.stores.kafka.metered_types import MeteredTypes
from pipeline.stores.redis_balances import BalanceReader, Keys


class Services:
    """All that a route may ask outside this process. The API starts even when none of it answers yet."""

    def __init__(self, settings: Settings, clickhouse: ClickHouse | None = None) -> None:
        self.settings = settings
        self.definitions = Definitions(settings)
        self.backfills = BackfillsView(settings)
        self.counts = CountsView(settings)
        self.metered = MeteredTypes(self.definitions)
        self.events = EventLog(settings)
        self.audit = AuditLog(settings)
        self.workers = WorkersView(settings)
        self.replies = Replies(settings)
        self.rates = Rates()
        self.clickhouse = clickhouse or connect(
            settings.clickhouse, settings.clickhouse_password.get_secret_value()
        )
        self.workers.on_change(self.rates.add)
        self.commands = Commands(settings, self.replies, self.workers)
        self._balances: BalanceReader | None = None
        self._alerts: AlertsView | None = None
        self._deliveries: DeliveriesView | None = None
        self._late: LateView | None = None
        self._opening = threading.Lock()

    def _views(self) -> tuple[CompactedView[object], ...]:
        return (self.definitions, self.backfills, self.counts, self.workers, self.replies)  # type: ignore[return-value]

    def __enter__(self) -> Self:
        for view in self._views():
            view.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops following the topics and gives up connections."""
        self.events.close()
        self.commands.close()
        self.audit.close()
        self.clickhouse.close()
        for view in self._views():
            view.close()
        for asked in (self._alerts, self._deliveries, self._late):
            if asked is not None:
                asked.close()

    def alerts(self) -> AlertsView:
        """What was told, read from the first question on. Raises Unavailable."""
        with self._opening:
            if self._alerts is None:
                self._alerts = AlertsView(self.settings).start()
        self._alerts.wait_loaded()
        return self._alerts

    def deliveries(self) -> DeliveriesView:
        """What became of it, read from the first question on. Raises Unavailable."""
        with self._opening:
            if self._deliveries is None:
                self._deliveries = DeliveriesView(self.settings).start()
        self._deliveries.wait_loaded()
        return self._deliveries

    def late(self) -> LateView:
        """What came late to balances, read from the first question on. Raises Unavailable."""
        with self._opening:
            if self._late is None:
                self._late = LateView(self.settings).start()
        self._late.wait_loaded()
        return self._late

    async def balances(self) -> BalanceReader:
        """The copy of balances in Redis. Raises Unavailable."""
        if self._balances is None:
            if not self.settings.redis:
                raise Unavailable("Balances are served from Redis, and the setting redis is empty.")
            ids = await anyio.to_thread.run_sync(kafka.topic_ids, self.settings, ["balances"])
            if "balances" not in ids:
                raise Unavailable("The topic balances is missing; `tallymark topics apply` makes it.")
            keys = Keys(ids["balances"], topics.load(self.settings)["balances"].partitions)
            password = self.settings.redis_password.get_secret_value()
            self._balances = self._balances or BalanceReader(self.settings.redis, password, keys)
        return self._balances

    def clickhouse_answers(self) -> None:
        """Returns when ClickHouse answers. Raises Unavailable."""
        self.clickhouse.ping()


def services_of(request: Request) -> Services:
    """The Services of the app that serves `request`."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services
