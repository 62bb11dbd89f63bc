"""The groups of lines of one customer while one record is applied.

Owns: reading them, which are metered, which change and which are removed. Does not own: what is booked of a group
(line_group), writing (customer_bills).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pipeline.core.bills.bill_rows import METERED, MeteredLine
from pipeline.core.bills.customer_record import CustomerRecord
from pipeline.core.bills.group_rows import GROUP
from pipeline.core.bills.line_group import GroupPart, LineGroup
from pipeline.errors import Broken


class CustomerGroups(CustomerRecord):
    """The groups of lines of one customer within one record."""

    def _begin(self) -> None:
        super()._begin()
        self._groups: dict[str, LineGroup] = {}
        self._metered: list[MeteredLine] | None = None
        self._removed: list[str] = []

    def find_group(self, id: str) -> LineGroup | None:
        """A group of lines of the customer; None: there is none, or it was removed because it is too old."""
        if id not in self._groups:
            row = self._rows.groups.get(GROUP + self.key + id.encode())
            if row is None:
                return None
            self._groups[id] = row
        return self._groups[id]

    def group(self, id: str) -> LineGroup:
        """A group of lines that exists."""
        found = self.find_group(id)
        if found is None:
            raise Broken(f"The lines {id} of the customer {self.customer} have no row.")
        return found

    def put_group(self, group: LineGroup) -> None:
        """A group is new or has changed."""
        if group.feature is not None and self.find_group(group.id) is None:
            meter_id, start_s, end_s = group.feature.meter_id, group.parts[0].start_s, group.parts[-1].end_s
            line = MeteredLine(group.id, meter_id, start_s, end_s, start_s >= self._counts_since_s())
            self.metered_lines().append(line)
        self._groups[group.id] = group
        self._forget_rated()

    def put_part(self, group_id: str, place: int, part: GroupPart) -> None:
        """A part of a group has changed."""
        self.put_group(self.group(group_id).with_part(place, part))

    def metered_lines(self) -> list[MeteredLine]:
        """The metered groups of the customer."""
        if self._metered is None:
            row = self._rows.metered.get(METERED + self.key)
            self._metered = [] if row is None else list(row.lines)
        return self._metered

    def change_metered(self, group: str, end_s: int) -> None:
        """A metered group ends at another instant."""
        self._metered = [
            msgspec.structs.replace(line, end_s=end_s) if line.group == group else line
            for line in self.metered_lines()
        ]

    def keep_metered(self, is_kept: Callable[[MeteredLine], bool]) -> None:
        """Remove the groups that are too old to change."""
        for line in [line for line in self.metered_lines() if not is_kept(line)]:
            self.forget_group(line.group)

    def forget_group(self, id: str) -> bool:
        """A group is too old to change. Returns whether it is removed: not while a line of it can still change."""
        group = self.find_group(id)
        if group is not None and any(part.open is not None for part in group.parts):
            return False
        self._removed.append(id)
        self._groups.pop(id, None)
        self._forget_rated()
        self._metered = [line for line in self.metered_lines() if line.group != id]
        return True
