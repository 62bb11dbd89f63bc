"""Which topics a stage's state was made with, by Kafka's topic ids.

Owns: comparing ids that were kept with the state with those of today. Does not own: where today's come from (Cluster).
A topic that was made anew has another id; its offsets begin at 0 and say nothing about older state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pipeline.errors import Broken


class LineageRefused(Broken):
    """State and topics do not belong together. The sentence is for an operator, and the process must not go on."""


@dataclass(frozen=True)
class Lineage:
    """ids: of the topics that a stage depends on, today. replaced: ids that an operator has given up, by topic."""

    ids: Mapping[str, str]
    replaced: Mapping[str, Collection[str]] = field(default_factory=dict)

    def id_of(self, topic: str) -> str:
        """The topic's id today; empty for a topic that the stage does not depend on."""
        return self.ids.get(topic, "")

    def is_given_up(self, topic: str, id: str) -> bool:
        """Whether an operator has accepted that the topic with this id is lost."""
        return id in self.replaced.get(topic, ())

    def require(self, kept: Mapping[str, str], stage: str) -> None:
        """Raises Refused if a topic has neither the id that was kept with the state, nor replaced that one."""
        for topic, id in sorted(kept.items()):
            today = self.ids.get(topic)
            if today is not None and today != id and not self.is_given_up(topic, id):
                raise made_anew(topic, today, id, stage)


def made_anew(topic: str, today: str, kept: str, stage: str) -> LineageRefused:
    """The refusal of a topic with another id."""
    return LineageRefused(
        f"The topic {topic} was made anew: its id is {today}, and the state of {stage} was made with {kept}. "
        f"`tallymark topics check` names the way back."
    )
