"""Changes that were read from `control`, for modules that keep a part of the definitions.

Owns: the changed definitions by kind, with typed bodies, and the newest revision among them. Does not own: reading
`control` (stores.kafka), what a subscriber keeps of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from pipeline.core.definitions.definition_body import DefinitionBody
from pipeline.records import Definition

B = TypeVar("B", bound=DefinitionBody)


class ChangedBody(NamedTuple, Generic[B]):
    """One changed definition. body: None if it was deleted for good. revision: 0 if its record was removed too."""

    namespace: str
    name: str
    body: B | None
    revision: int


class Changes:
    """A batch of changes: the newest definition of each name.

    Args:
        records: By key on `control` (namespace/kind/name); None for a removed record.
    """

    def __init__(self, records: Mapping[str, Definition | None]) -> None:
        self.records = records
        self.revision = max((one.revision for one in records.values() if one is not None), default=0)
        self._by_kind: defaultdict[str, list[tuple[str, str, Definition | None]]] = defaultdict(list)
        for key, definition in records.items():
            if definition is not None:
                place = (definition.namespace, definition.name, definition)
                self._by_kind[definition.kind].append(place)
            elif key.count("/") == 2:
                namespace, kind, name = key.split("/")
                self._by_kind[kind].append((namespace, name, None))

    def of(self, kind: type[B]) -> Iterator[ChangedBody[B]]:
        """The changed definitions of a kind, in the order of the log. Raises Broken for a body that cannot be read.

        >>> class Note(DefinitionBody, frozen=True):
        ...     kind = "note"
        ...     text: str
        >>> written = Definition(7, "note", "default", "a", "", 0, {"text": "hello"})
        >>> changes = Changes({"default/note/a": written, "default/note/b": None, "default/meter/m": None})
        >>> [(one.name, one.body and one.body.text, one.revision) for one in changes.of(Note)]
        [('a', 'hello', 7), ('b', None, 0)]
        >>> changes.revision
        7
        """
        for namespace, name, definition in self._by_kind.get(kind.kind, ()):
            revision = 0 if definition is None else definition.revision
            yield ChangedBody(namespace, name, kind.of(definition), revision)

    def has(self, kind: type[DefinitionBody]) -> bool:
        """Whether a definition of the kind changed."""
        return kind.kind in self._by_kind
