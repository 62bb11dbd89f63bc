"""`/info/currencies`: the currencies that prices can have.

Owns: the route. Does not own: the table (core.catalog.currency).
"""

from __future__ import annotations

from fastapi import Depends, Response

from pipeline.api.catalog.plan_answers import CurrencyAnswer
from pipeline.api.http.auth import needs
from pipeline.api.http.described import described
from pipeline.api.http.json_response import answer
from pipeline.api.http.paths import Router
from pipeline.core.catalog.currency import CURRENCIES

router = Router(prefix="/info", tags=["info"])


@router.get(
    "/currencies",
    summary="Currencies",
    dependencies=[Depends(needs("query"))],
    **described(answer=list[CurrencyAnswer]),
)
async def list_currencies() -> Response:
    """Those of ISO 4217, by code, with the decimals of an amount of money."""
    return answer([one._asdict() for one in CURRENCIES.values()])
