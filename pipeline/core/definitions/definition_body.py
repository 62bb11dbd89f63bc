"""The body of a definition as a typed value: one frozen Struct a kind, decoded once, written back without loss.

Owns: decoding a stored body, changing one, the JSON members that are written. Does not own: which members a kind has
(its subject's module declares the Struct), or whether a change is allowed (the deciders).

A kind declares its members in the order in which they are written. A member that may be absent has the default None;
a member without a default is always written. Nothing that is stored is lost: members that this version does not know,
in the order in which they lie, survive every change.

    class Feature(DefinitionBody, frozen=True, kw_only=True):
        kind = FEATURE
        id: str
        key: str
        archived_at: str | None = None
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Self

import msgspec

from pipeline.errors import Broken
from pipeline.records import Definition

BodyClass = type["DefinitionBody"]
_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(dict[str, object]).decode


class DefinitionBody(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, dict=True):
    """What the body of one kind of definition holds. Two are equal if the members that this version knows are."""

    kind: ClassVar[str]
    outside: ClassVar[tuple[str, ...]] = ()  # fields that the definition around the body has, not the body

    @classmethod
    def of(cls, definition: Definition | None) -> Self | None:
        """The body of a definition, decoded at the first call for it.

        Args:
            definition: as it lies on `control`; None where there is none.

        Returns:
            None for no definition, one of another kind, or one without a body, which is deleted for good.

        Raises:
            Broken: the stored body is not one of this kind.
        """
        if definition is None or definition.kind != cls.kind or definition.body is None:
            return None
        decoded = definition.__dict__.get("decoded")
        if decoded is None:
            decoded = definition.__dict__["decoded"] = cls.read(
                definition.body, definition.name, {field: getattr(definition, field) for field in cls.outside}
            )
        if not isinstance(decoded, cls):
            raise Broken(f"The {cls.kind} {definition.name} was decoded as {type(decoded).__name__}.")
        return decoded

    @classmethod
    def shape(cls, members: Mapping[str, object]) -> BodyClass:
        """The class that a stored body is read as: this one, or one below it that has the members of its type."""
        return cls

    @classmethod
    def read(
        cls, members: dict[str, object], name: str = "", around: Mapping[str, object] | None = None
    ) -> Self:
        """Decode a body.

        Args:
            members: its JSON, which must not be changed afterwards.
            name: of the definition, for the error.
            around: values of the fields in `outside`.

        Raises:
            Broken: it is not one of this kind.
        """
        try:
            body = msgspec.convert({**members, **around} if around else members, cls.shape(members))
        except msgspec.ValidationError as error:
            raise Broken(f"The stored {cls.kind} {name} cannot be read: {error}.") from error
        if not isinstance(body, cls):
            raise Broken(f"The stored {cls.kind} {name} is read as {type(body).__name__}.")
        body.__dict__["members"] = members
        return body

    @cached_property
    def members(self) -> dict[str, object]:
        """The JSON members that are stored, unknown ones too. It is shared: read it, do not change it."""
        return _members(self)

    @property
    def is_deleted(self) -> bool:
        """Whether it was deleted. It can still be read by its name."""
        return "deletedAt" in self.members

    def changed(self, **values: object) -> Self:
        """The body with other values of some members; None takes a member out.

        Args:
            values: by field name.

        Returns:
            A body whose members lie in the order in which they were stored; new ones follow in the order of the Struct.
        """
        body = msgspec.structs.replace(self, **values)
        fresh, written = _members(body), {_names(self)[field] for field in values}
        kept = {name: value for name, value in self.members.items() if name not in written or name in fresh}
        body.__dict__["members"] = kept | {name: value for name, value in fresh.items() if name in written}
        return body

    def in_place_of(self, old: Self) -> Self:
        """The body as one that replaces `old` as a whole.

        Returns:
            A body with what `old` has and this version does not know: unknown members at the end, and within a member
            whose known part is the same.
        """
        fresh, names = dict(self.members), _names(self)
        for field, name in names.items():
            same = name in fresh and name in old.members and getattr(self, field) == getattr(old, field)
            if same and fresh[name] != old.members[name]:
                fresh[name] = old.members[name]
        body = msgspec.structs.replace(self)
        known = set(names.values())
        body.__dict__["members"] = fresh | {
            name: value for name, value in old.members.items() if name not in known
        }
        return body


def _members(body: DefinitionBody) -> dict[str, object]:
    """The members of a body as they are read back from JSON."""
    members = _read(_encode(body))
    for field in body.outside:
        members.pop(field, None)
    return members


def _names(body: DefinitionBody) -> dict[str, str]:
    """The name in JSON of each field."""
    return dict(zip(body.__struct_fields__, body.__struct_encode_fields__, strict=True))
