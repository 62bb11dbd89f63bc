"""Members that bodies and answers of several subjects have, and the page of a list, as OpenAPI shows them.

Owns: their forms and descriptions. Does not own: any whole body or answer (`bodies.py`, `answers.py` of each subject).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

Instant = Annotated[
    str, Meta(description="RFC 3339 in UTC, to the millisecond", extra_json_schema={"format": "date-time"})
]
InstantText = Annotated[str, Meta(description="RFC 3339", extra_json_schema={"format": "date-time"})]
Ulid = Annotated[
    str, Meta(description="ULID: 26 characters that sort by time", pattern="^[0-9A-HJKMNP-TV-Z]{26}$")
]
ExactNumber = Annotated[
    float,
    Meta(description="exact, with all its digits (up to 38, 18 after the point): read it as a decimal"),
]
Metadata = Annotated[dict[str, str], Meta(description="kept and shown, and otherwise without meaning")]
Events = Annotated[int, Meta(ge=0, description="number of events")]
# Only the server writes it. A request may send it back as it was read; another value is refused.
Written = Annotated[
    str | None,
    Meta(
        description="written by the server: absent, or as it was read", extra_json_schema={"readOnly": True}
    ),
]


def page_of(item: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The answer that holds one page of a list of `item`."""
    return msgspec.defstruct(
        f"{item.__name__.removesuffix('Answer')}Page",
        [
            ("totalCount", Annotated[int, Meta(ge=0, description="items of all pages")]),
            ("page", Annotated[int, Meta(ge=1, description="from 1")]),
            ("pageSize", Annotated[int, Meta(ge=1, description="most items of a page")]),
            ("items", list[item]),  # type: ignore[valid-type]
        ],
        forbid_unknown_fields=True,
        module=__name__,
    )


class ValidationErrorDetail(msgspec.Struct, forbid_unknown_fields=True):
    """One parameter or member that is wrong: its form, or, with `code` and `message`, what a rule says about it."""

    field: Annotated[
        str,
        Meta(
            description="its name; the way to it within a body, with dots, or from `$` on as a JSONPath where there "
            "is a `code`"
        ),
    ]
    in_: Annotated[str, Meta(description="`query`, `path`, `header` or `body`")] = msgspec.field(name="in")
    detail: str
    code: Annotated[str, Meta(description="a stable name of what is wrong")] | UnsetType = UNSET
    message: Annotated[str, Meta(description="the same as `detail`, as OpenMeter names it")] | UnsetType = (
        UNSET
    )


class ProblemExtensions(msgspec.Struct, forbid_unknown_fields=True):
    """Further facts."""

    validationErrors: list[ValidationErrorDetail] | UnsetType = UNSET
    event: (
        Annotated[int, Meta(description="the place in the batch of the event that is wrong, from 0")]
        | UnsetType
    ) = UNSET
    contentType: Annotated[str, Meta(description="the content type that was sent")] | UnsetType = UNSET
    requestId: (
        Annotated[str, Meta(description="the id under which the server's log has the cause")] | UnsetType
    ) = UNSET


class Problem(msgspec.Struct, forbid_unknown_fields=True):
    """An error (RFC 7807). Program against `reason`; `detail` is for people and may be reworded."""

    type: Annotated[str, Meta(description="always `about:blank`: `reason` says more")]
    title: Annotated[str, Meta(description="the phrase of the status")]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(min_length=1, description="one sentence for a person")]
    instance: Annotated[str, Meta(description="the path that was requested")]
    reason: Annotated[str, Meta(description="a stable name of what is wrong", pattern="^[a-z0-9_-]+$")]
    extensions: ProblemExtensions | UnsetType = UNSET


AnyJson = Any
