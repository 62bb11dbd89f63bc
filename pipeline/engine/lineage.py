"""The topics with which a stage's state was built, by their Kafka topic ids.

Owns: comparing the stored ids with those of the cluster. Does not own: where the cluster's ids come from (Cluster).
A recreated topic has another id, and its offsets start at 0, so they cannot be compared with those in older state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pipeline.errors import Broken


class LineageRefused(Broken):
    """State and topics do not belong together. The message is for an operator, and the process must end."""


@dataclass(frozen=True)
class Lineage:
    """ids: the cluster's ids of the topics of a stage. replaced: ids that an operator has given up, by topic."""

    ids: Mapping[str, str]
    replaced: Mapping[str, Collection[str]] = field(default_factory=dict)

    def id_of(self, topic: str) -> str:
        """The cluster's id of a topic; empty for a topic that the stage does not depend on."""
        return self.ids.get(topic, "")

    def is_given_up(self, topic: str, id: str) -> bool:
        """Whether an operator has accepted that the topic with this id is lost."""
        return id in self.replaced.get(topic, ())

    def require(self, kept: Mapping[str, str], stage: str) -> None:
        """Raise LineageRefused if a topic has another id than the stored one, and the stored one is not given up."""
        for topic, id in sorted(kept.items()):
            today = self.ids.get(topic)
            if today is not None and today != id and not self.is_given_up(topic, id):
                raise recreated(topic, today, id, stage)


def recreated(topic: str, today: str, kept: str, stage: str) -> LineageRefused:
    """The error for a topic that has another id than the stored one."""
    return LineageRefused(
        f"The topic {topic} was recreated: its id is {today}, but the state of {stage} was built with {kept}. "
        f"`tallymark topics check` shows how to recover."
    )
