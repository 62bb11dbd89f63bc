"""Records that the API itself writes: alerts of tests, and wishes about deliveries.

Owns: their topics, keys and partitions. Does not own: writing them (writer), commands, events (event_writer).
"""

from __future__ import annotations

import msgspec

from pipeline.core.notifications.delivery_table import partition_of
from pipeline.records import Alert, WebhookWork
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from pipeline.stores.kafka.writer import Acknowledged

ALERTS, WORK = "alerts", "webhook-work"
_encode = msgspec.json.Encoder().encode


class Appending:
    """What routes append, each call until the broker has it."""

    def __init__(self, settings: Settings) -> None:
        self._partitions = topics.load(settings)[WORK].partitions
        self._records = Acknowledged(settings, "record")

    def alert(self, alert: Alert) -> None:
        """Tells it. Raises Unavailable."""
        self._records.write([(ALERTS, _encode(alert), alert.id, -1)])

    def work(self, wishes: list[WebhookWork]) -> None:
        """Gives the webhook stage work, each in its endpoint's partition. Raises Unavailable."""
        self._records.write(
            [
                (
                    WORK,
                    _encode(one),
                    one.endpoint,
                    partition_of(one.namespace, one.endpoint, self._partitions),
                )
                for one in wishes
            ]
        )
