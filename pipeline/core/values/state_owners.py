"""Whose the rows of a stage's state are, by their keys: so that a partition of customers can be split.

Owns: looking an owner up by rules, one for each first byte of a key. Does not own: the rules of a stage
(notifications.account_owners, notifications.delivery_owners, billing.stripe_owners, bills.bill_owners), splitting
(agents.raise_customers).

Keys hold digests and ids, which do not show their owner. So the names that keys hold are collected first: from the
definitions, and from rows whose value says whose they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final


class Unowned(Enum):
    """A row of no single owner.

    Attributes:
        SHARED: every partition needs a copy, or one that it does not need is never looked up.
        STAYS: only the partition that wrote it may need it.
        UNKNOWN: no rule, or the owner's name was not found.
    """

    SHARED = 1
    STAYS = 2
    UNKNOWN = 3


RowOwner = int | Unowned
"""The u32 hash that places the owner, or why there is none."""
NameIn = Callable[[bytes], bytes]
"""Cuts the name of the owner out of a key."""
OwnerRule = NameIn | Unowned
"""Where the name is, or that there is no owner."""
Learn = Callable[[bytes, bytes], tuple[bytes, int | bytes] | None]
"""A name that a row (key and value) shows, with the hash of its owner, or with another name of that owner."""
FIRST: Final = slice(0, 1)


class StateOwners:
    """The owners of the rows of one stage.

    Args:
        rules: By the first byte of a key: where the name of its owner is in it, or that it has none.
        learns: By the first byte of a key: what such a row shows of names.
        names: Those that are known from elsewhere, with the hash of each.
        otherwise: The owner of a row whose name is not found.
    """

    def __init__(
        self,
        rules: Mapping[bytes, OwnerRule],
        learns: Mapping[bytes, Learn] | None = None,
        names: Mapping[bytes, int] | None = None,
        otherwise: Unowned = Unowned.UNKNOWN,
    ) -> None:
        self.rules = rules
        self._learns = learns or {}
        self._names: dict[bytes, int | bytes] = dict(names or {})
        self._otherwise = otherwise

    def learn(self, key: bytes, value: bytes) -> None:
        """Take the name that a row shows, if it shows one."""
        learn = self._learns.get(key[FIRST])
        found = None if learn is None else learn(key, value)
        if found is not None:
            self._names[found[0]] = found[1]

    def of(self, key: bytes) -> RowOwner:
        """The owner of the row of a key.

        >>> owners = StateOwners({b"a": lambda key: key[1:3], b"p": Unowned.SHARED}, names={b"me": 7})
        >>> [owners.of(key) for key in (b"ame/1", b"ayou", b"p", b"z")][:1]
        [7]
        >>> [owners.of(key).name for key in (b"ayou", b"p", b"z")]
        ['UNKNOWN', 'SHARED', 'UNKNOWN']
        """
        rule = self.rules.get(key[FIRST], Unowned.UNKNOWN)
        if isinstance(rule, Unowned):
            return rule
        found = self._names.get(rule(key))
        if isinstance(found, bytes):
            found = self._names.get(found)
        return found if isinstance(found, int) else self._otherwise


def part(start: int, end: int | None = None) -> NameIn:
    """The bytes of a key from `start` to `end`."""
    return lambda key: key[start:end]
