"""How many events and requests a second one key may send: 429 beyond that.

Owns: one token bucket a key and kind, in Redis so that all API processes share it; the rule while Redis is
unavailable. Does not own: the arithmetic (core.values.token_bucket), who asks (auth), how large a request may be (body,
core.metering.http_batch).

While Redis is unavailable, ingest and reads continue under the same rate, counted in this process alone; a request
that changes something is refused with 503. Without a Redis in the settings every process counts by itself.
Headers: `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), `Retry-After`.
"""

from __future__ import annotations

import time
from typing import Any

import redis.asyncio
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.api.http.problem import problem
from pipeline.core.metering.http_batch import MAX_EVENTS
from pipeline.core.values.token_bucket import MICRO, Bucket, BucketPolicy, BucketStatus, take
from pipeline.errors import Rejected
from pipeline.settings import Settings

STATE = "rate_limits"  # in a request's state: its `Limited`
INGEST_PATH = "/api/v1/events"
ANSWER_S = 0.25  # Redis is unavailable when it takes longer
AWAY_S = 1.0  # it is then not asked for that long
_MOST_BUCKETS = 10_000  # in this process

# As core.token_bucket.take; by the clock of Redis, which all processes share. Redis before 7 needs a call
# that makes it replicate the effects, because a script may otherwise not write after TIME.
_TAKE = """
if redis.replicate_commands then redis.replicate_commands() end
local rate, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local kept = redis.call('HMGET', KEYS[1], 'room', 'at')
local at = tonumber(kept[2]) or now
local room = math.min(burst * 1000000, (tonumber(kept[1]) or burst * 1000000) + math.max(now - at, 0) * rate)
local need, wait, allowed = cost * 1000000, 0, 1
if room >= need then room = room - need else allowed = 0; wait = math.ceil((need - room) / rate) end
redis.call('HSET', KEYS[1], 'room', string.format('%.0f', room), 'at', string.format('%.0f', math.max(now, at)))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate) * 1000 + 1000)
return {allowed, math.floor(room / 1000000), wait}
"""


class RedisAway(Exception):
    """The shared buckets cannot be asked now."""


class Buckets:
    """The buckets of all keys. `here` counts in this process, `shared` in Redis."""

    def __init__(self, settings: Settings) -> None:
        self._here: dict[str, Bucket] = {}
        self._redis: redis.asyncio.Redis | None = None
        self._script: Any = None
        self._away_until_s = 0.0
        self.has_redis = bool(settings.redis)
        if self.has_redis:
            password = settings.redis_password.get_secret_value()
            options: dict[str, Any] = {"password": password} if password else {}
            self._redis = redis.asyncio.Redis.from_url(
                settings.redis,
                socket_timeout=ANSWER_S,
                socket_connect_timeout=ANSWER_S,
                **options,
            )
            self._script = self._redis.register_script(_TAKE)

    async def close(self) -> None:
        """Gives up the connections to Redis."""
        if self._redis is not None:
            await self._redis.aclose()

    def here(self, name: str, policy: BucketPolicy, cost: int) -> BucketStatus:
        """Take from the bucket of this process."""
        now_us = time.monotonic_ns() // 1000
        if len(self._here) >= _MOST_BUCKETS and name not in self._here:
            self._here.clear()  # full buckets again: rather too much than a leak
        self._here[name], standing = take(self._here.get(name), policy, cost, now_us)
        return standing

    async def shared(self, name: str, policy: BucketPolicy, cost: int) -> BucketStatus:
        """Take from the bucket in Redis. Raises RedisAway."""
        if time.monotonic() < self._away_until_s:
            raise RedisAway
        try:
            answer = await self._script(
                keys=["tallymark:rate:" + name], args=[policy.rate, policy.burst, cost]
            )
        except (redis.RedisError, OSError, TimeoutError) as error:
            self._away_until_s = time.monotonic() + AWAY_S
            raise RedisAway from error
        allowed, left, wait_us = (int(number) for number in answer)
        return BucketStatus(bool(allowed), left, wait_us)


class Limited:
    """One request under its key's limits; collects where the key stands, for the headers."""

    def __init__(
        self, buckets: Buckets, policies: dict[str, BucketPolicy], key: str, may_count_here: bool
    ) -> None:
        self._buckets = buckets
        self._policies = policies
        self._key = key
        self._may_count_here = may_count_here
        self.standings: dict[str, BucketStatus] = {}

    async def take(self, kind: str, cost: int) -> None:
        """Take `cost` of "requests" or "events". Raises Rejected("rate-limited"); RedisAway where that forbids."""
        policy = self._policies.get(kind)
        if policy is None:
            return
        name = f"{kind}:{self._key}"
        try:
            if not self._buckets.has_redis:
                raise RedisAway
            standing = await self._buckets.shared(name, policy, cost)
        except RedisAway:
            if self._buckets.has_redis and not self._may_count_here:
                raise
            standing = self._buckets.here(name, policy, cost)
        self.standings[kind] = standing
        if not standing.allowed:
            raise Rejected("rate-limited", f"The key may send {policy.rate} {kind} a second.")

    def headers(self, status: int) -> list[tuple[str, str]]:
        """RateLimit headers, with Retry-After where the status says that a limit was met."""
        found = []
        for kind, standing in self.standings.items():
            rate, burst = self._policies[kind]
            window_s = max(burst // rate, 1)
            wait_s = -(-standing.wait_us // MICRO) if standing.wait_us else window_s
            found.append(("RateLimit-Policy", f'"{kind}";q={burst};w={window_s}'))
            found.append(("RateLimit", f'"{kind}";r={standing.left};t={wait_s}'))
            if status == 429 and not standing.allowed:
                found.append(("Retry-After", str(wait_s)))
        return found


class RateLimits:
    """ASGI middleware under authentication: one token a request; the ingest route takes those of its events."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        requests, events = settings.rate_limit_requests_s, settings.rate_limit_events_s
        self._policies: dict[str, BucketPolicy] = {}
        if requests:
            self._policies["requests"] = BucketPolicy(requests, requests)
        if events:
            self._policies["events"] = BucketPolicy(
                events, max(events, MAX_EVENTS)
            )  # a full request has to pass
        self._buckets = Buckets(settings) if self._policies else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        principal = scope.get("state", {}).get("principal") if scope["type"] == "http" else None
        if self._buckets is None or principal is None:
            await self._app(scope, receive, send)
            return
        key = principal.key_id or f"{principal.namespace}/{principal.actor}"
        limited = Limited(self._buckets, self._policies, key, _served_without_redis(scope))
        scope["state"][STATE] = limited

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in limited.headers(message["status"]):
                    headers.append(name, value)
            await send(message)

        try:
            await limited.take("requests", 1)
        except Rejected as refusal:
            response = problem(Request(scope), 429, refusal.reason, refusal.detail)
            await response(scope, receive, labelled)
        except RedisAway:
            detail = "Redis, which counts requests, does not answer; changes wait until it does."
            response = problem(Request(scope), 503, "unavailable", detail)
            response.headers["retry-after"] = "5"
            await response(scope, receive, labelled)
        else:
            await self._app(scope, receive, labelled)


def _served_without_redis(scope: Scope) -> bool:
    """Whether the request is served while Redis is unavailable: ingest and reads are."""
    path = scope["path"]
    reads = scope["method"] in ("GET", "HEAD", "OPTIONS") or path.endswith("/query")
    return reads or path == INGEST_PATH
