"""The sandbox over HTTP, for the official `stripe` package, with a few routes of its own for scripts.

Owns: HTTP, and how an answer gets lost. Does not own: what an answer is (call).

    POST /sandbox/clock    {"advance_s": 90000}             the clock moves forward
    POST /sandbox/faults   {"seed": 7, "rules": [...]}      which calls fail from now on (faults.FaultRule)
    POST /sandbox/reports                                   error reports go to the webhook endpoints
    POST /sandbox/events   {"times": 2, "reversed": true}   events of invoices since the last time go to the endpoints
    POST /sandbox/happens  {"invoice": ID, "type": "payment_failed"}   something that no call does
    GET  /sandbox                                           what was counted, requests, faults made
"""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import ClientSession, web

from pipeline.local.stripe_sandbox.call import SandboxAnswer, SandboxRequest, StripeSandbox
from pipeline.local.stripe_sandbox.errors import StripeRefusal
from pipeline.local.stripe_sandbox.faults import FaultRule, Faults
from pipeline.local.stripe_sandbox.webhooks import signed

LOST_S = 120.0  # how long a caller stays without an answer; a client gives up before
PROXY_TEXT = "upstream connect error"


class FaultScript(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /sandbox/faults: the rules that replace those in force."""

    rules: list[FaultRule]
    seed: int = 0


class ClockMove(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /sandbox/clock."""

    advance_s: int


class EventScript(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /sandbox/events: how often each is delivered, and whether the newest comes first."""

    times: int = 1
    reversed: bool = False


class Happening(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /sandbox/happens. type: of the event, behind `invoice.`."""

    invoice: str
    type: str


class SandboxServer:
    """Serves one sandbox. lost_s: how long a call whose answer gets lost by a timeout stays open."""

    def __init__(self, sandbox: StripeSandbox, lost_s: float = LOST_S) -> None:
        self._sandbox = sandbox
        self._lost_s = lost_s

    def app(self) -> web.Application:
        """The application, to be run by aiohttp."""
        made = web.Application()
        made.router.add_post("/sandbox/clock", self._move_clock)
        made.router.add_post("/sandbox/faults", self._set_faults)
        made.router.add_post("/sandbox/reports", self._send_reports)
        made.router.add_post("/sandbox/events", self._send_events)
        made.router.add_post("/sandbox/happens", self._happens)
        made.router.add_get("/sandbox", self._overview)
        made.router.add_route("*", "/{path:v[12]/.*}", self._call)
        return made

    async def _call(self, request: web.Request) -> web.StreamResponse:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        answer = await self._sandbox.answer(
            SandboxRequest(
                request.method,
                request.path,
                request.query_string,
                await request.text(),
                key.strip() if scheme == "Bearer" else "",
                request.headers.get("Idempotency-Key", ""),
            )
        )
        if answer.lost:
            return await self._lose(request, answer)
        headers = {"Request-Id": f"req_sandbox{self._sandbox.requests:08d}", **answer.headers}
        return web.json_response(answer.body, status=answer.status, headers=headers)

    async def _lose(self, request: web.Request, answer: SandboxAnswer) -> web.StreamResponse:
        if answer.lost == "unavailable":
            return web.Response(status=503, text=PROXY_TEXT)
        if answer.lost in ("timeout-before", "timeout-after"):
            await asyncio.sleep(self._lost_s)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=499)

    async def _move_clock(self, request: web.Request) -> web.Response:
        try:
            self._sandbox.clock.advance(msgspec.json.decode(await request.read(), type=ClockMove).advance_s)
        except ValueError as error:  # msgspec's errors are ValueErrors too
            return web.Response(status=400, text=str(error))
        return web.json_response({"now_s": self._sandbox.clock.now_s()})

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            script = msgspec.json.decode(await request.read(), type=FaultScript)
        except msgspec.ValidationError as error:
            return web.Response(status=400, text=str(error))
        self._sandbox.faults = Faults(script.rules, script.seed)
        return web.json_response({"rules": len(script.rules)})

    async def _send_reports(self, request: web.Request) -> web.Response:
        sandbox = self._sandbox
        events = [
            sandbox.webhooks.report(report, sandbox.clock.now_s()) for report in sandbox.events.reports()
        ]
        return await self._deliver(events)

    async def _send_events(self, request: web.Request) -> web.Response:
        try:
            script = msgspec.json.decode(await request.read() or b"{}", type=EventScript)
        except msgspec.ValidationError as error:
            return web.Response(status=400, text=str(error))
        sandbox = self._sandbox
        events = [sandbox.webhooks.snapshot(*one) for one in sandbox.invoices.happened]
        sandbox.invoices.happened = []
        return await self._deliver((events[::-1] if script.reversed else events) * script.times)

    async def _happens(self, request: web.Request) -> web.Response:
        try:
            one = msgspec.json.decode(await request.read(), type=Happening)
            self._sandbox.invoices.note(one.invoice, one.type, self._sandbox.clock.now_s())
        except msgspec.ValidationError as error:
            return web.Response(status=400, text=str(error))
        except StripeRefusal as refusal:
            return web.json_response(refusal.body(), status=refusal.status)
        return web.json_response({"noted": one.type})

    async def _deliver(self, events: list[dict[str, object]]) -> web.Response:
        sandbox, statuses = self._sandbox, list[int]()
        async with ClientSession() as session:
            for event in events:
                for url, secret in sandbox.webhooks.receivers(str(event["type"])):
                    body, signature = signed(event, secret, sandbox.clock.now_s())
                    headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
                    async with session.post(url, data=body, headers=headers) as answer:
                        statuses.append(answer.status)
        return web.json_response({"events": len(events), "statuses": statuses})

    async def _overview(self, request: web.Request) -> web.Response:
        sandbox = self._sandbox
        totals: dict[str, dict[str, int]] = {}
        for event in sandbox.events.counted(sandbox.clock.now_s()):
            of_meter = totals.setdefault(event.event_name, {})
            of_meter[event.customer] = of_meter.get(event.customer, 0) + event.units
        return web.json_response(
            {
                "totals": totals,
                "invoices": {one.id: one.json() for one in sandbox.invoices.invoices.values()},
                "requests": sandbox.requests,
                "faults": sandbox.faults.made,
                "over_limits": sandbox.limits.refused,
                "identifiers_with_two_bodies": sum(len(bodies) > 1 for bodies in sandbox.bodies.values()),
            }
        )
