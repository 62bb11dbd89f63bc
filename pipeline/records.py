"""The records on Tallymark's own topics, each declared once.

Owns: field order, meaning and units. Does not own: creating a record (core) or publishing it (engine).
Inner topics are packed: one Kafka record holds the events of one chunk for one partition, because a Kafka record costs
more CPU than counting an event. Array-like records only ever grow at the end, so old ones can be decoded for ever.
All instants are UTC; `_ns` and `_ms` are integers since 1970. Decimals are plain decimal strings.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Fate = Literal["counted", "duplicate", "conflict", "rejected", "invalid", "unmetered", "voided", "pending"]


class Event(msgspec.Struct, array_like=True, gc=False):
    """An accepted event. Its position in `input_topic` is (partition, offset); `received_at_ms` is its arrival."""

    namespace: str
    source: str
    id: str
    type: str
    subject: str
    time_ns: int
    received_at_ms: int
    input_topic: str
    partition: int
    offset: int
    data: msgspec.Raw  # the JSON text of `data` as sent: an object, or `null` if absent


class AcceptedBatch(msgspec.Struct, array_like=True):
    """`events-accepted`: events with the identities that dedupe needs in `keys`, so that it never parses an event.

    keys: n x 36 bytes, `KEY` below: identity (16), content (8), received_at_ms (i64), subject_hash (u32).
    """

    keys: bytes
    events: list[msgspec.Raw]  # each an Event


KEY = "<16s8sqI"

# `events-unique` is a JSON array of Event; `events-settled` and `duplicates` are JSON arrays of Settled.


class Backfilled(msgspec.Struct, array_like=True):
    """The change of an event by a backfill, in which a meter counts events that were decided before it was created.

    decided: the control revision at which aggregate decided the event. before: its fate before the newest backfill.
    meters: ids of the meters whose backfills counted it. rules: of each of them, like `Settled.rules`; 0 for the
    meters beyond the end of the list.
    """

    decided: int
    before: Fate
    meters: list[int]
    rules: list[int] = []


class Refused(msgspec.Struct, array_like=True, gc=False):
    """A meter that matches an event but refuses it. reason: a slug of core/metering/refusal.py. detail: a sentence."""

    meter_id: int
    meter: str  # slug
    reason: str
    detail: str


class Settled(msgspec.Struct, array_like=True, gc=False):
    """An event with its one fate. `meters` has the slugs of the meters that counted it; `reason` is why none did.

    A recreated meter with the same slug is another meter, so a slug occurs twice if the backfill of the newer meter
    counted the event too. `revision`: of the control log at the decision; after a backfill, the id of its meter, which
    is larger. `rules`: the version of the rules by which values and dimensions were read (core/metering/extract.py).
    `refused`: the meters that refused the event, even if others counted it.
    """

    event: msgspec.Raw | Event
    fate: Fate
    reason: str = ""
    meters: list[str] = []
    revision: int = 0
    backfill: Backfilled | None = None
    rules: int = 0
    refused: list[Refused] = []


class Window(msgspec.Struct, array_like=True, gc=False):
    """`usage` is a JSON array of Window: the absolute state of one minute window after a chunk, with its change.

    value: SUM and AVG: the sum; MIN, MAX, LATEST: that value; COUNT and UNIQUE_COUNT: the number. `change` is the
    difference from the previous value (for MIN, MAX, LATEST too). `order` sorts LATEST: time, then arrival.
    `members` holds the UNIQUE_COUNT members (32 hex digits each) of this chunk: their union is the set, so repeats are
    harmless.
    `revision` is the offset of the last applied input, and only grows. `part`: 0 holds the events that were counted on
    arrival, 1 those that a backfill of the meter counted; the window is the two together, and each has its own
    `change`, `order` and `revision` (offsets of `events-unique`, of `backfill-work`).
    `events`: for a watched meter, the events of the chunk in order: (source, id, value), so that an alert can name the
    event that crossed its threshold; the value is empty where values are not summed. Empty if they would be huge.
    """

    namespace: str
    meter: str
    meter_id: int
    subject: str
    dimensions: dict[str, str]  # sorted by name
    start_s: int
    value: str
    count: int
    change: str
    order: str
    members: list[str]
    revision: int
    received_at_ms: int  # of the newest event in it
    part: int = 0
    events: list[tuple[str, str, str]] = []


class Backfill(msgspec.Struct):
    """`backfill-work` (compacted), key `meter_id/shard`: the next step of a backfill, and its progress.

    A shard holds the subjects with one hash; its steps follow one another in the partition of its number.
    cursor: position of the last stored event that was read, as (time_s, input_topic, input_partition, input_offset).
    """

    namespace: str
    meter: str
    meter_id: int
    definition: dict[str, object]  # the meter as it was created
    shard: int
    shards: int
    step: int = 0
    state: Literal["new", "waiting", "copying", "landing", "done", "stopped"] = "new"
    cursor: tuple[int, str, int, int] | None = None
    span_s: int = 3600  # of event time, to read next
    events: int = 0  # stored events to read in total, set from the state copying onwards
    read: int = 0
    counted: int = 0  # of those read, by this meter
    stopped: bool = False  # the meter was deleted
    at_ms: int = 0  # the broker's time of the previous step


class CustomerWindow(msgspec.Struct, array_like=True, gc=False):
    """`customer-usage` is a JSON array of these: a window of a watched meter, with its customer."""

    customer: str  # id
    window: Window


class Balance(msgspec.Struct):
    """`balances` (compacted), key `namespace/customer/feature`: the current balance of a customer for a feature.

    An entitlement that has ended leaves a balance with an empty `type` and no access. Amounts are plain decimal
    strings, empty unless the entitlement is metered. The balance changes without an event at `next_at_ms`; 0: never.
    """

    namespace: str
    customer: str  # id
    feature: str  # key
    entitlement: str  # id
    type: Literal["metered", "boolean", "static", ""]
    revision: int  # offset in `customer-usage` of the last applied record; it only grows
    has_access: bool
    at_ms: int  # the instant up to which it is computed
    next_at_ms: int = 0
    balance: str = ""
    usage: str = ""
    overage: str = ""
    total_available: str = ""
    config: str = ""  # JSON text of a static entitlement
    period_from_ms: int = 0
    period_to_ms: int = 0
    received_at_ms: int = 0  # of the newest event in it


class LateUsage(msgspec.Struct):
    """`late-usage`, key `entitlement/minute/offset`: late usage that corrected a balance.

    Usage is late if it arrived more than an hour after its minute, or after its usage period had ended. `counted` is
    false if the state of that time had expired, so that no balance includes it.
    """

    namespace: str
    customer: str  # id
    feature: str  # key
    entitlement: str  # id
    minute_s: int
    change: str  # plain decimal text
    at_ms: int  # when the balance was corrected
    counted: bool = True


class Counts(msgspec.Struct):
    """`counts`, key `stage/topic/partition`: the totals of one stage for one input partition since the beginning.

    counts: namespace -> name -> events. Names: `read` and the stage's outcomes (`accepted`, `rejected:bad-json`, ...);
    names that begin with `/` are additional totals, such as those of what a meter counted and refused
    (core/metering/refusal.py). An offset here is the record's offset in its topic plus `base`. `base` is 0 until the
    input topic is lost and recreated; from then on it keeps offsets growing.
    """

    stage: str
    topic: str
    partition: int
    offset: int  # of the last input record in the counts
    incarnation: str  # Kafka's topic id of the input topic
    counts: dict[str, dict[str, int]]
    base: int = 0  # offsets of earlier input topics of this name
    changelog_end: int = 0  # an offset that the changelog's partition had reached before this record
    writes: int | None = None  # chunks that changed the state; null: unknown
    control_revision: int = 0  # the newest definitions that the stage had loaded


class TopicId(msgspec.Struct):
    """`topic-ids`, key `topic`: the id of the topic with which the state of this installation was built.

    `replaced` lists earlier topics of this name that were lost, and that an operator has given up.
    """

    topic: str
    id: str  # Kafka's topic id
    partitions: int  # how many are used; for a topic with any number of partitions, how many it had
    at_ms: int  # when this record was written
    replaced: list[str] = []  # Kafka's topic ids


class Worker(msgspec.Struct):
    """`workers`, key `id`: a worker's heartbeat. A tombstone means that the worker has stopped."""

    id: str
    stage: str
    host: str
    pid: int
    at_ms: int
    started_at_ms: int
    control_revision: int
    partitions: list[str]  # `topic/partition`
    events_in: int  # since it started
    metrics_url: str


class Command(msgspec.Struct, omit_defaults=True):
    """`commands`: a change that a caller requests. The control agent decides it and publishes the result on `replies`.

    With `request` it is applied once in 24 hours, however often it is sent: a later command with the same `id` gets the
    same reply if its `request` is the same, and is refused otherwise.
    """

    id: str
    kind: str  # "meter.apply", "customer.create", ...: see schemas/commands.md
    namespace: str
    actor: str  # public id of an API key, or another name
    at_ms: int
    body: dict[str, object]
    request_id: str = ""  # of the HTTP request
    ip: str = ""  # address of the client
    attempt: str = ""  # id of this attempt to send the command; the reply's key
    request: str = ""  # digest of the request; empty: the id is not reused


class Definition(msgspec.Struct, dict=True):  # `__dict__`: its body as a typed value, see core.definitions
    """`control` (compacted), key `namespace/kind/name`: a current definition. A deleted one has a null `body`."""

    revision: int  # of the whole log; grows by one with each change
    kind: str  # "meter", "customer", "subject", "feature", "key", "portal-token"; others are internal to control
    namespace: str
    name: str  # a meter's slug, a key's public id, otherwise a ULID
    actor: str
    at_ms: int
    body: dict[str, object] | None


class Reply(msgspec.Struct):
    """`replies`, key = the command's `attempt`, or its id. error: the reason of a Rejected. detail: its sentence."""

    id: str
    revision: int
    error: str = ""
    detail: str = ""
    body: dict[str, object] | None = None
    attempt: str = ""  # the command's
    repeated: bool = False  # the command was applied before, and this is the stored reply


class Audit(msgspec.Struct):
    """`audit`: one command and its result, including refused ones. `hash` covers all other fields, with `previous`.

    before, after: the body of the definition that changed; if several changed, their bodies by `kind/name`, and `name`
    is empty. Secrets are left out. A body that is too long is replaced by {"bytes": n, "sha256": hex}.
    """

    seq: int  # from 1, without gaps, over all namespaces
    at_ms: int  # the broker's time of the command
    namespace: str
    actor: str
    kind: str  # the command's
    name: str  # of the definition, or the requested one
    command_id: str
    before: dict[str, object] | None
    after: dict[str, object] | None
    error: str  # the reason of a Rejected; empty: applied
    detail: str
    request_id: str
    ip: str
    previous: str  # the hash of the previous record, 64 hex digits; zeros in the first
    hash: str  # SHA-256 of the record's JSON without `hash`, members sorted by name


class Alert(msgspec.Struct):
    """`alerts`, key = `id`: an event to deliver to webhook endpoints.

    `payload` is the webhook's body: JSON text, created once and sent byte for byte on every attempt.
    """

    id: str  # the `webhook-id`, the same for each endpoint and on every attempt; without dots
    namespace: str
    type: str  # "entitlements.balance.threshold"; "webhook.test" for a test
    rule: str  # id of the rule; empty: none
    at_ms: int  # when it happened
    endpoints: list[str]  # ids of the endpoints to which it is delivered
    payload: str
    customer: str = ""  # id
    feature: str = ""  # key
    subject: str = ""
    annotations: dict[str, str] = {}


AttemptOutcome = Literal["delivered", "failed", "gone", "dropped"]
DeliveryState = Literal["PENDING", "SENDING", "RESENDING", "SUCCESS", "FAILED"]


class Attempt(msgspec.Struct):
    """One attempt of a delivery.

    outcome: delivered (2xx), failed (to be retried), gone (410: the endpoint is disabled), dropped (nothing was sent,
    because the endpoint is disabled or deleted).
    """

    number: int  # number of the attempt, from 1
    at_ms: int  # when it started
    duration_ms: int
    outcome: AttemptOutcome
    status: int = 0  # HTTP status; 0: no response
    error: str = ""  # why there was no response, or no attempt
    retry_after_ms: int = 0  # the receiver's Retry-After; 0: none


class Delivery(msgspec.Struct):
    """`deliveries` (compacted), key = `id`: the delivery of one alert to one endpoint. A tombstone: it has expired.

    PENDING: not attempted yet; SENDING: attempted, and to be retried; RESENDING: sent again on request; SUCCESS and
    FAILED are final. `reason` is why it failed: exhausted, gone, endpoint-disabled, no-endpoint.
    """

    id: str  # a ULID; its time is the alert's
    namespace: str
    endpoint: str  # id
    alert: str  # id
    type: str  # of the alert
    rule: str  # of the alert
    at_ms: int  # when the alert fired
    state: DeliveryState
    attempts: list[Attempt]  # the newest 50
    next_at_ms: int  # time of the next attempt; 0: none
    failures: int  # since the start, or since it was sent again
    tries: int  # attempts in total
    ended_at_ms: int = 0  # 0: in progress
    reason: str = ""
    customer: str = ""
    feature: str = ""
    subject: str = ""
    annotations: dict[str, str] = {}
    applied: int = -1  # offset in `webhook-work` of the newest applied record


class WebhookWork(msgspec.Struct):
    """`webhook-work`: the changes of one endpoint's deliveries, in order; their state depends on nothing else.

    deliver: `alert` is to be sent. attempt: delivery `id` was attempted. resend: delivery `id` is to be sent again.
    replay: the deliveries of alerts in [from_ms, to_ms) that are in one of `states` are to be sent again.
    """

    kind: Literal["deliver", "attempt", "resend", "replay"]
    namespace: str
    endpoint: str
    id: str  # of the delivery; for a replay: where it continues, empty at its start
    at_ms: int
    alert: Alert | None = None
    attempt: Attempt | None = None
    from_ms: int = 0
    to_ms: int = 0
    states: list[DeliveryState] = []
    actor: str = ""  # who requested it
