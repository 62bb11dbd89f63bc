"""What travels on Tallymark's own topics, each record declared once.

Owns: field order, meaning and units. Does not own: how a record is made (core) or moved (engine).
Inner topics are packed: one Kafka record holds the events of one chunk that go to one partition, because a Kafka
record costs more CPU than counting an event. Array-like records only ever grow at the end, so old ones decode for ever.
All instants are UTC; `_ns` and `_ms` are integers since 1970. Decimals are plain decimal strings.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Fate = Literal["counted", "duplicate", "conflict", "rejected", "invalid", "unmetered", "voided", "pending"]


class Event(msgspec.Struct, array_like=True, gc=False):
    """An accepted event. Its place in `input_topic` is (partition, offset); received_at_ms and that are its arrival."""

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
    data: msgspec.Raw  # the JSON text of `data` as sent: an object, or `null` where absent


class AcceptedBatch(msgspec.Struct, array_like=True):
    """`events-accepted`: what dedupe needs stands in `keys`, so that it never parses an event.

    keys: n x 36 bytes, `KEY` below: identity (16), content (8), received_at_ms (i64), subject_hash (u32).
    """

    keys: bytes
    events: list[msgspec.Raw]  # each an Event


KEY = "<16s8sqI"

# `events-unique` is a JSON array of Event; `events-settled` and `duplicates` are JSON arrays of Settled.


class Backfilled(msgspec.Struct, array_like=True):
    """What a backfill changed of an event: a meter that was made after the event's decision has looked at it.

    decided: the control revision at which aggregate decided the event. before: its fate before the newest backfill.
    meters: ids of the meters that counted it by a backfill. rules: of each of them, as `Settled.rules`; where the list
    is shorter, 0.
    """

    decided: int
    before: Fate
    meters: list[int]
    rules: list[int] = []


class Refused(msgspec.Struct, array_like=True, gc=False):
    """A meter that wants an event and cannot take it. `reason` is a slug of core/refusal.py, `detail` a sentence."""

    meter_id: int
    meter: str  # slug
    reason: str
    detail: str


class Settled(msgspec.Struct, array_like=True):
    """An event with its one fate. `meters` names the meters that counted it, as `slug`; `reason` says why not.

    A slug made anew is another meter, so a slug stands twice where a backfill of the newer one counted the event too.
    `revision`: of the control log at the decision; after a backfill the id of its meter, which is above it.
    `rules`: the version of the rules by which values and dimensions were read (core/reading.py). `refused`: the meters
    that did not take the event, also where others counted it.
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
    difference to the value before (for MIN, MAX, LATEST too). `order` sorts LATEST: time, then arrival.
    `members` holds the UNIQUE_COUNT members (32 hex digits each) that this chunk brought: a set union, so repeats do
    no harm.
    `revision` is the offset of the last input applied: it only grows. `part`: 0 holds the events counted as they
    came, 1 those that a backfill of the meter counted; the window is the two together, and each has its own `change`,
    `order` and `revision` (offsets of `events-unique`, of `backfill-work`).
    `events`: of a watched meter, what the chunk brought, in order: (source, id, value), so that an alert can name the
    event that crossed its threshold; the value is empty where values are not added up. Empty if they would be huge.
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
    """`backfill-work` (compacted), key `meter_id/shard`: the next step of a backfill, and how far it has come.

    A shard holds the subjects with one hash; its steps follow one another in the partition of its number.
    cursor: place of the last stored event that was read, as (time_s, input_topic, input_partition, input_offset).
    """

    namespace: str
    meter: str
    meter_id: int
    definition: dict[str, object]  # the meter as it was made
    shard: int
    shards: int
    step: int = 0
    state: Literal["new", "waiting", "copying", "landing", "done", "stopped"] = "new"
    cursor: tuple[int, str, int, int] | None = None
    span_s: int = 3600  # of event time, to look at next
    events: int = 0  # stored events to read in all, known once copying
    read: int = 0
    counted: int = 0  # of those read, by this meter
    stopped: bool = False  # the meter was deleted
    at_ms: int = 0  # the broker's time of the step before


class CustomerWindow(msgspec.Struct, array_like=True, gc=False):
    """`customer-usage` is a JSON array of these: a window of a watched meter, with the customer it belongs to."""

    customer: str  # id
    window: Window


class Balance(msgspec.Struct):
    """`balances` (compacted), key `namespace/customer/feature`: what a customer may use of a feature, now.

    An entitlement that ended leaves one with `type` empty and no access. Amounts are plain decimal strings, empty
    unless the entitlement is metered. What holds changes with no event at `next_at_ms`; 0: never.
    """

    namespace: str
    customer: str  # id
    feature: str  # key
    entitlement: str  # id
    type: Literal["metered", "boolean", "static", ""]
    revision: int  # offset in `customer-usage` of the last record applied: it only grows
    has_access: bool
    at_ms: int  # up to when it holds what has happened
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
    """`late-usage`, key `entitlement/minute/offset`: usage that came late and corrected a balance.

    Late is what arrived more than an hour after its minute, or after its usage period had ended. `counted` is false
    where the usage of that time is no longer kept, so that no balance saw it.
    """

    namespace: str
    customer: str  # id
    feature: str  # key
    entitlement: str  # id
    minute_s: int
    change: str  # plain decimal text
    at_ms: int  # when the balance took it
    counted: bool = True


class Counts(msgspec.Struct):
    """`counts`, key `stage/topic/partition`: what one stage has done with one input partition since the beginning.

    counts: namespace -> name -> events. Names: `read` and the stage's outcomes (`accepted`, `rejected:bad-json`, ...);
    names that begin with `/` are totals beside them, as what a meter counted and refused (core/refusal.py).
    An offset here is the record's offset in its topic plus `base`. `base` is 0 until the input topic is lost and made
    anew: then it is what keeps offsets growing.
    """

    stage: str
    topic: str
    partition: int
    offset: int  # of the last input record that is in the counts
    incarnation: str  # Kafka's topic id of the input topic
    counts: dict[str, dict[str, int]]
    base: int = 0  # offsets of earlier input topics of this name
    changelog_end: int = 0  # an offset that the changelog's partition had reached before this record
    writes: int | None = None  # chunks that changed the state; null: not known
    control_revision: int = 0  # the newest definitions that the stage had when it wrote this


class TopicId(msgspec.Struct):
    """`topic-ids`, key `topic`: which topic of that name the state of this installation was made with.

    `replaced` lists earlier topics of the name that were lost, and that an operator has given up.
    """

    topic: str
    id: str  # Kafka's topic id
    partitions: int  # how many are used; a topic that may have any number has as many as it had
    at_ms: int  # when this was written
    replaced: list[str] = []  # Kafka's topic ids


class Worker(msgspec.Struct):
    """`workers`, key `id`: a worker's heartbeat. A tombstone says that it left."""

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
    """`commands`: a change that somebody asks for. The control agent decides it and answers on `replies`.

    With `request` it is done once in 24 hours, however often it is sent: a later command with the same `id` gets the
    same answer if its `request` is the same, and is refused otherwise.
    """

    id: str
    kind: str  # "meter.apply", "customer.create", ...: the table in core/control.py
    namespace: str
    actor: str  # a key's public id, or who else
    at_ms: int
    body: dict[str, object]
    request_id: str = ""  # of the HTTP request
    ip: str = ""  # from where it came
    attempt: str = ""  # which sending of the command this is; the reply's key
    request: str = ""  # what is asked, as a digest; empty: the id is not used again


class Definition(msgspec.Struct, dict=True):  # `__dict__`: its body as a typed value, see core.definitions
    """`control` (compacted), key `namespace/kind/name`: a definition in force. A deleted one has `body` null."""

    revision: int  # of the whole log; grows by one each change
    kind: str  # "meter", "customer", "subject", "feature", "key", "portal-token"; others are the control stage's own
    namespace: str
    name: str  # a meter's slug, a key's public id, any other's ULID
    actor: str
    at_ms: int
    body: dict[str, object] | None


class Reply(msgspec.Struct):
    """`replies`, key = the command's `attempt`, or its id. `error` is a Rejected's reason, `detail` its sentence."""

    id: str
    revision: int
    error: str = ""
    detail: str = ""
    body: dict[str, object] | None = None
    attempt: str = ""  # the command's
    repeated: bool = False  # it was done before, and this is the answer from then


class Audit(msgspec.Struct):
    """`audit`: one command and what became of it, refused ones too. `hash` covers all else, `previous` among it.

    before, after: the body of the one definition that changed; where several did, their bodies by `kind/name`, and
    `name` is empty. Secrets are left out. A body that is too long is {"bytes": n, "sha256": hex} instead.
    """

    seq: int  # from 1, without gaps, over all namespaces
    at_ms: int  # the broker's time of the command
    namespace: str
    actor: str
    kind: str  # the command's
    name: str  # of the definition, or the wished one
    command_id: str
    before: dict[str, object] | None
    after: dict[str, object] | None
    error: str  # a Rejected's reason; empty: done
    detail: str
    request_id: str
    ip: str
    previous: str  # the hash before, 64 hex digits; the first has zeros
    hash: str  # SHA-256 of the record's JSON without `hash`, members sorted by name


class Alert(msgspec.Struct):
    """`alerts`, key = `id`: something happened that endpoints shall hear of.

    `payload` is the webhook's body: JSON text made when it happened, sent byte for byte on every try.
    """

    id: str  # the `webhook-id`, the same for each endpoint and on every try; without dots
    namespace: str
    type: str  # "entitlements.balance.threshold"; "webhook.test" for a test
    rule: str  # id of the rule; empty: none
    at_ms: int  # when it happened
    endpoints: list[str]  # ids of the endpoints that it goes to
    payload: str
    customer: str = ""  # id
    feature: str = ""  # key
    subject: str = ""
    annotations: dict[str, str] = {}


AttemptOutcome = Literal["delivered", "failed", "gone", "dropped"]
DeliveryState = Literal["PENDING", "SENDING", "RESENDING", "SUCCESS", "FAILED"]


class Attempt(msgspec.Struct):
    """One try of a delivery.

    outcome: delivered (2xx), failed (to be tried again), gone (410: the endpoint is to be disabled), dropped (nothing
    was sent: the endpoint is disabled or deleted).
    """

    number: int  # of the delivery's tries, from 1
    at_ms: int  # when it began
    duration_ms: int
    outcome: AttemptOutcome
    status: int = 0  # of HTTP; 0: no answer
    error: str = ""  # why there was no answer, or no try
    retry_after_ms: int = 0  # what the receiver asked for; 0: nothing


class Delivery(msgspec.Struct):
    """`deliveries` (compacted), key = `id`: one alert on its way to one endpoint. A tombstone: forgotten.

    PENDING: not tried yet; SENDING: tried, to be tried again; RESENDING: on its way once more, since somebody asked;
    SUCCESS and FAILED are ends. `reason` says why it failed: exhausted, gone, endpoint-disabled, no-endpoint.
    """

    id: str  # a ULID; its time is the alert's
    namespace: str
    endpoint: str  # id
    alert: str  # id
    type: str  # of the alert
    rule: str  # of the alert
    at_ms: int  # when the alert happened
    state: DeliveryState
    attempts: list[Attempt]  # the newest 50
    next_at_ms: int  # when it is to be tried; 0: not any more
    failures: int  # since it was begun, or sent again
    tries: int  # in all
    ended_at_ms: int = 0  # 0: it has not ended
    reason: str = ""
    customer: str = ""
    feature: str = ""
    subject: str = ""
    annotations: dict[str, str] = {}
    applied: int = -1  # offset in `webhook-work` of the newest record in it


class WebhookWork(msgspec.Struct):
    """`webhook-work`: what happens to one endpoint's deliveries, in order; all that decides their state.

    deliver: `alert` is to be sent. attempt: delivery `id` was tried. resend: somebody wants delivery `id` sent again.
    replay: somebody wants the deliveries of alerts in [from_ms, to_ms) sent again that are in `states`.
    """

    kind: Literal["deliver", "attempt", "resend", "replay"]
    namespace: str
    endpoint: str
    id: str  # of the delivery; for a replay: where it goes on, empty at its beginning
    at_ms: int
    alert: Alert | None = None
    attempt: Attempt | None = None
    from_ms: int = 0
    to_ms: int = 0
    states: list[DeliveryState] = []
    actor: str = ""  # who asked
