"""Definitions by name and by their handles: a customer by its key, by its subjects.

Owns: the indices, updated with each definition, so that no look-up scans all of them. Does not own: which members are
handles (kinds), what makes a definition valid, or where definitions are stored: in a dict or in a table.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from heapq import heappop, heappush
from typing import TypeVar

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.core.definitions.kinds import APP, KEY, PORTAL_TOKEN, SHARED, UNIQUE, Handle, handles
from pipeline.core.values import timestamp
from pipeline.records import Definition

B = TypeVar("B", bound=DefinitionBody)
Body = dict[str, object]

OWN = "/"  # log keys that begin so are the control stage's own, no definitions
FORGET_AFTER_MS = 86_400_000  # a portal token, after its end


def key_of(definition: Definition) -> str:
    """The record key on `control`."""
    return key(definition.namespace, definition.kind, definition.name)


def key(namespace: str, kind: str, name: str) -> str:
    """The record key on `control`: namespace/kind/name. None of the three holds a slash, so no two keys collide."""
    return f"{namespace}/{kind}/{name}"


class DefinitionIndex:
    """The definitions of all namespaces, deleted ones too."""

    def __init__(
        self, definitions: MutableMapping[str, Definition], stored: Iterable[Definition] | None = None
    ) -> None:
        """Index all definitions.

        Args:
            definitions: by key on `control`.
            stored: all of them, where reading them in bulk is cheaper than going over `definitions`.
        """
        self.revision = 0
        self._definitions = definitions
        self._one: dict[tuple[str, str], dict[str, str]] = {}
        self._many: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
        self._ends: list[tuple[int, str]] = []  # of portal tokens: a heap
        for definition in definitions.values() if stored is None else stored:
            self._add(definition, first=True)

    def get(self, namespace: str, kind: str, name: str) -> Definition | None:
        """The newest definition of the name, which may be deleted."""
        return self._definitions.get(key(namespace, kind, name))

    def body(self, namespace: str, kind: str, name: str) -> Body | None:
        """The JSON members of the name's newest definition; None if there is none or it is deleted for good."""
        definition = self.get(namespace, kind, name)
        return None if definition is None else definition.body

    def find(self, kind: type[B], namespace: str, name: str) -> B | None:
        """The newest body of the name, typed; None if there is none or it is deleted for good. Raises Broken."""
        return kind.of(self.get(namespace, kind.kind, name))

    def find_by(self, kind: type[B], namespace: str, by: str, wanted: str, deleted: bool = True) -> B | None:
        """The body of the name `wanted`, else of the one definition that has `wanted` as its handle `by`.

        deleted: whether one that is deleted and kept to be read may be returned.
        """
        for name in (wanted, self.one(namespace, by, wanted)):
            body = None if name is None else self.find(kind, namespace, name)
            if body is not None and (deleted or not body.is_deleted):
                return body
        return None

    def having(self, kind: type[B], namespace: str, by: str, value: str) -> list[B]:
        """The bodies of all definitions that share the handle `by`, by name."""
        bodies = (self.find(kind, namespace, name) for name in self.many(namespace, by, value))
        return [body for body in bodies if body is not None]

    def all(self, kind: type[B], namespace: str) -> list[B]:
        """The bodies of a kind by name, deleted ones too that are kept to be read."""
        return self.having(kind, namespace, kind.kind, "")

    def one(self, namespace: str, by: str, value: str) -> str | None:
        """The name of the one definition that has `value` as its handle `by`."""
        return self._one.get((namespace, by), {}).get(value)

    def many(self, namespace: str, by: str, value: str) -> list[str]:
        """The names of the definitions that share a handle, sorted: every process decides by the same order."""
        return sorted(self._many.get((namespace, by), {}).get(value, ()))

    def names(self, namespace: str, kind: str) -> list[str]:
        """The names of a kind that have a body, sorted."""
        return self.many(namespace, kind, "")

    def namespaces(self, kind: str) -> list[str]:
        """The namespaces that have definitions of a kind, sorted."""
        return sorted(namespace for (namespace, by), values in self._many.items() if by == kind and values)

    def key_definition(self, public: str) -> Definition | None:
        """The API key with this public id, of whatever namespace."""
        namespace = self.one("", KEY, public)
        return None if namespace is None else self.get(namespace, KEY, public)

    def app_definition(self, id: str) -> Definition | None:
        """The app with this id, of whatever namespace."""
        namespace = self.one("", APP, id)
        return None if namespace is None else self.get(namespace, APP, id)

    def ended(self, at_ms: int, most: int) -> tuple[str, ...]:
        """Keys on `control` of portal tokens that ended FORGET_AFTER_MS before `at_ms`, oldest first.

        Args:
            at_ms: in ms since 1970.
            most: how many at most.
        """
        ends = self._ends
        ended: list[tuple[int, str]] = []
        while ends and len(ended) < most and ends[0][0] + FORGET_AFTER_MS <= at_ms:
            end = heappop(ends)
            if end[1] in self._definitions and end not in ended:
                ended.append(end)
        for end in ended:
            heappush(ends, end)  # until `forget` has deleted it
        return tuple(key for _, key in ended)

    def keep(self, definition: Definition) -> None:
        """Store a definition in place of the one of its name."""
        key = key_of(definition)
        old = self._definitions.get(key)
        if old is not None:
            self._remove(old)
        self._definitions[key] = definition
        self._add(definition, first=old is None)

    def pass_over(self, definition: Definition) -> None:
        """Use the revision of a definition, and nothing else of it."""
        self.revision = max(self.revision, definition.revision)

    def forget(self, key: str) -> None:
        """Delete the definition with this key on `control`, deleted ones too."""
        old = self._definitions.pop(key, None)
        if old is not None:
            self._remove(old)

    def _add(self, definition: Definition, first: bool) -> None:
        """Add the handles of a definition. first: the name had no definition before."""
        self.revision = max(self.revision, definition.revision)
        kind, name, namespace, body = definition.kind, definition.name, definition.namespace, definition.body
        if body is None:
            return
        for by, value in handles(UNIQUE, kind, body):
            self._one.setdefault((namespace, by), {})[value] = name
        for by, value in (_all_of(kind), *handles(SHARED, kind, body)):
            self._many.setdefault((namespace, by), {}).setdefault(value, {})[name] = None
        if kind in (KEY, APP):  # they are looked up before a namespace is known
            self._one.setdefault(("", kind), {})[name] = namespace
        if kind == PORTAL_TOKEN and first and isinstance(end := body.get("expiresAt"), str):
            heappush(self._ends, (timestamp.ms_of(end), key_of(definition)))

    def _remove(self, definition: Definition) -> None:
        kind, name, namespace, body = definition.kind, definition.name, definition.namespace, definition.body
        if body is None:
            return
        for by, value in handles(UNIQUE, kind, body):
            names = self._one[namespace, by]
            if names.get(value) == name:  # a reader of the compacted log may meet the next owner first
                del names[value]
        for by, value in (_all_of(kind), *handles(SHARED, kind, body)):
            sharing = self._many[namespace, by]
            sharing[value].pop(name, None)
            if not sharing[value]:
                del sharing[value]


def _all_of(kind: str) -> Handle:
    """The handle that every definition of a kind has while it has a body."""
    return kind, ""
