"""`/subjects`: names and metadata of those whose usage is counted. Optional: events need no subject made here.

Owns: the shape of requests and answers. Does not own: what a subject may be (core.customers.subject), whose it is
(customers).
"""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import Body, Depends, Request, Response

from pipeline.api.customers.answers import SubjectAnswer
from pipeline.api.customers.bodies import SubjectBody
from pipeline.api.http.auth import namespace_of, needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import Router
from pipeline.api.http.short_way import Asked, ShortRoute, are_objects
from pipeline.api.http.submit import body_of, change, definitions
from pipeline.errors import Rejected

router = Router(prefix="/subjects", tags=["subjects"])
READ = [Depends(needs("query"))]
_may_write = needs("customers:write")
WRITE = [Depends(_may_write)]


@router.get("", summary="Subjects", dependencies=READ, **described(answer=list[SubjectAnswer]))
def list_subjects(request: Request) -> list[dict[str, Any]]:
    """All subjects that were created here, sorted by key. Events need no subject to be created."""
    found = definitions(request).subjects(namespace_of(request))
    return [subject.members for subject in sorted(found, key=lambda subject: subject.key)]


@router.post(
    "",
    summary="Create or change subjects, all or none",
    dependencies=WRITE,
    **described(list[SubjectBody], list[SubjectAnswer], reasons=["bad-subject"]),
)
async def upsert_subjects(
    request: Request, subjects: Annotated[list[dict[str, Any]], Body()]
) -> list[dict[str, Any]]:
    """By key. A member that is absent stays as it is, and null clears it."""
    reply = await change(request, "subject.upsert", {"subjects": subjects}, everywhere=False)
    found = body_of(reply)["subjects"]
    assert isinstance(found, list)
    return found


async def _upsert(asked: Asked) -> Response:
    return answer(await upsert_subjects(asked.request, cast(list[dict[str, Any]], asked.body)))


SHORT = (ShortRoute("POST", "/subjects", _may_write, are_objects, _upsert),)


@router.get("/{subjectIdOrKey}", summary="One subject", dependencies=READ, **described(answer=SubjectAnswer))
def get_subject(request: Request, subjectIdOrKey: str) -> dict[str, Any]:
    """By id or key."""
    found = definitions(request).subject(namespace_of(request), subjectIdOrKey)
    if found is None:
        raise Rejected("not-found", f"There is no subject {subjectIdOrKey[:256]}.")
    return found.members


@router.delete(
    "/{subjectIdOrKey}",
    status_code=204,
    summary="Delete a subject",
    dependencies=WRITE,
    **described(status=204, reasons=["bad-subject"]),
)
async def delete_subject(request: Request, subjectIdOrKey: str) -> Response:
    """Its name and metadata are deleted. Usage of its key is kept."""
    await change(request, "subject.delete", {"id": subjectIdOrKey}, everywhere=False)
    return Response(status_code=204)
