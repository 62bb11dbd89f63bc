"""Events: their accepted forms, and the text that is sent.

Owns: `Event`, ids and times that are set once, the JSON of one CloudEvent. Does not own: batches (_batch), or the rules
of the server, which checks more than this client.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Protocol, TypeAlias, cast

from tallymark._json import dumps, loads

MAX_BYTES = 1_048_576  # of a request's body
_BRACKETS = 2  # an event alone in a batch


class BadEvent(ValueError):
    """The event is invalid, so nothing was sent."""


def new_id() -> str:
    """A random UUID (version 4)."""
    return str(uuid.uuid4())


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event. Its id and time are set when it is created, so the same object counts once if it is sent again.

    Args:
        type, subject, source: See CloudEvents 1.0; (source, id) is the event's identity.
        data: Members that meters read. Numbers: int, Decimal (kept digit by digit) or numeric str; a float is sent in
            its shortest form.
        id: Unique within the source.
        time: When it happened; a datetime needs a zone.
        dataschema: See CloudEvents 1.0.
        extensions: Additional CloudEvents attributes.
    """

    type: str
    subject: str
    source: str
    data: Mapping[str, Any] | None = None
    id: str = field(default_factory=new_id)
    time: datetime | str = field(default_factory=now)
    dataschema: str | None = None
    extensions: Mapping[str, str | int | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """An event in the form that is sent, with id and time. `text` is one line of JSON, which may be sent again."""

    text: bytes

    def members(self) -> dict[str, Any]:
        """The CloudEvent as a dict, fractions as Decimal."""
        found: dict[str, Any] = loads(self.text)
        return found


class CloudEvent(Protocol):
    """An object of the `cloudevents` package, in any version."""

    def get_attributes(self) -> Mapping[str, Any]: ...

    def get_data(self) -> Any: ...


AnyEvent: TypeAlias = Event | Prepared | Mapping[str, Any] | CloudEvent


def prepare(
    event: AnyEvent, at: Callable[[], datetime] = now, make_id: Callable[[], str] = new_id
) -> Prepared:
    """The event as text. A missing `id`, `time` and `specversion` are set; nothing else is changed.

    at: the time of an event without one. Raises BadEvent.
    """
    if isinstance(event, Prepared):
        return event
    members = {name: value for name, value in _members(event).items() if value is not None}
    members.setdefault("specversion", "1.0")
    if "id" not in members:
        members["id"] = make_id()
    for name in ("id", "source", "type", "subject"):
        if not isinstance(members.get(name), str) or not members[name]:
            raise BadEvent(f"an event needs a {name}: a str that is not empty")
    if "data" in members and not isinstance(members["data"], Mapping):
        raise BadEvent(
            f"the data of an event must be an object with named members, not a {type(members['data']).__name__}"
        )
    members["time"] = time_text(members.get("time") or at())
    try:
        text = dumps(members)
    except (TypeError, ValueError) as error:
        raise BadEvent(f"event {members['id']}: {error}") from error
    if len(text) + _BRACKETS > MAX_BYTES:
        raise BadEvent(
            f"event {members['id']} has {len(text)} bytes, but the limit is {MAX_BYTES - _BRACKETS}"
        )
    return Prepared(text)


def one_or_more(events: AnyEvent | Iterable[AnyEvent]) -> Iterable[AnyEvent]:
    """The events; a single event becomes a tuple of one."""
    if isinstance(events, (Event, Prepared, Mapping)) or hasattr(events, "get_attributes"):
        return (cast(AnyEvent, events),)
    return events


def time_text(time: object) -> str:
    """RFC 3339 text of a datetime with a zone; a str is not changed. Raises BadEvent."""
    if isinstance(time, str):
        return time
    if not isinstance(time, datetime):
        raise BadEvent(f"a time must be a datetime or RFC 3339 text, not a {type(time).__name__}")
    if time.utcoffset() is None:
        raise BadEvent(f"the time {time} has no zone; use datetime.now(timezone.utc), for example")
    return time.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def _members(event: Event | Mapping[str, Any] | CloudEvent) -> dict[str, Any]:
    if isinstance(event, Event):
        members: dict[str, Any] = dict(event.extensions)
        for name in ("id", "source", "type", "subject", "time", "dataschema", "data"):
            members[name] = getattr(event, name)
        return members
    if isinstance(event, Mapping):
        return dict(event)
    if hasattr(event, "get_attributes") and hasattr(event, "get_data"):
        return {**event.get_attributes(), "data": _cloud_data(event.get_data())}
    raise BadEvent(f"a {type(event).__name__} is not an event: use a tallymark.Event, a dict or a CloudEvent")


def _cloud_data(data: Any) -> Any:
    """A CloudEvent may hold its data as JSON text."""
    if not isinstance(data, (bytes, str)):
        return data
    try:
        return loads(data)
    except ValueError as error:
        raise BadEvent(f"the data of the CloudEvent is not JSON: {error}") from error
