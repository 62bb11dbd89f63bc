"""Client of Tallymark: sends usage events so that each counts once, and queries usage."""

from tallymark._async_buffer import AsyncBuffer
from tallymark._async_client import AsyncClient
from tallymark._buffer import Buffer
from tallymark._client import Client
from tallymark._errors import (
    Broken,
    Conflict,
    Failure,
    Forbidden,
    NotAccepted,
    NotFound,
    Refused,
    TallymarkError,
    Unauthorized,
    Unavailable,
)
from tallymark._event import BadEvent, Event, Prepared
from tallymark._ingest import Ingested, IngestWarning
from tallymark._models import Meter, StoredEvent, Usage

__all__ = [
    "AsyncBuffer",
    "AsyncClient",
    "BadEvent",
    "Broken",
    "Buffer",
    "Client",
    "Conflict",
    "Event",
    "Failure",
    "Forbidden",
    "IngestWarning",
    "Ingested",
    "Meter",
    "NotAccepted",
    "NotFound",
    "Prepared",
    "Refused",
    "StoredEvent",
    "TallymarkError",
    "Unauthorized",
    "Unavailable",
    "Usage",
]
