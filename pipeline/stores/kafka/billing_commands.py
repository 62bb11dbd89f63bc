"""Commands from the API to the billing stage.

Owns: publishing a command to the partition of its customer, its reply. Does not own: deciding (core.bills), what every
command has (commands), waiting for the documents of a reply (api.http.submit_billing).
"""

from __future__ import annotations

import msgspec

from pipeline.core.metering.identity import customer_hash
from pipeline.errors import Unavailable
from pipeline.records import BillingWork, Command, Reply
from pipeline.settings import Settings
from pipeline.stores.kafka import topics
from pipeline.stores.kafka.commands import REPLY_TIMEOUT_S, answer
from pipeline.stores.kafka.definitions import Replies
from pipeline.stores.kafka.writer import KafkaWriter, WrittenRecord

TOPIC = "billing-work"


class BillingCommands:
    """Publishes commands of customers and waits for their replies."""

    def __init__(
        self, settings: Settings, replies: Replies, reply_timeout_s: float = REPLY_TIMEOUT_S
    ) -> None:
        self._partitions = topics.load(settings)[TOPIC].partitions
        self._replies = replies
        self._reply_timeout_s = reply_timeout_s
        self._records = KafkaWriter(settings, "commands of billing")

    def run(self, customer: str, command: Command, revision: int) -> Reply:
        """Publish one command and return its reply.

        Args:
            customer: Id of the customer that it concerns.
            command: As stores.kafka.commands.command_of makes it.
            revision: Of the definitions that the caller has read: the command is decided with these or newer ones.

        Raises:
            Rejected: As decided.
            Unavailable: There is no decision in time.
        """
        work = BillingWork("command", customer=customer, command=command, revision=revision)
        partition = customer_hash(command.namespace, customer) % self._partitions
        record = WrittenRecord(TOPIC, msgspec.json.encode(work), work.kind, partition)
        reply = answer(self._replies, self._records, command, record, self._reply_timeout_s)
        if reply is None:
            raise Unavailable(
                f"The billing stage did not answer within {self._reply_timeout_s:g} s; is `tallymark worker billing` "
                "running? The command is stored, and will be decided when it is."
            )
        return reply

    def close(self) -> None:
        """Close the connection."""
        self._records.close()
