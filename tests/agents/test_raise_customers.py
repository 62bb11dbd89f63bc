"""The number of partitions by customer raised on a real broker: each row is in one partition, or nothing changes."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from pipeline.agents import alert, billing, stripe_sync, webhook
from pipeline.agents.customer_counts import INGEST, OWNING
from pipeline.agents.customer_split import Split
from pipeline.agents.raise_customers import WRITERS, customer_topics, raise_customer_partitions
from pipeline.agents.raise_partitions import raise_partitions
from pipeline.agents.state_owners import owners_of_stages
from pipeline.core.billing.stripe_rows import DUE, AccountRow, account_of, due_key, lane_of
from pipeline.core.bills.bill_rows import HEAD, RESULT, CustomerHead
from pipeline.core.bills.usage_rows import customer_key
from pipeline.core.metering.identity import customer_hash
from pipeline.core.metering.partition_splits import EventPartitions
from pipeline.core.notifications.delivery_table import apply, endpoint_hash
from pipeline.core.notifications.standard_webhooks import SCHEDULE_MS
from pipeline.core.values.state_owners import StateOwners, Unowned
from pipeline.engine import ledger
from pipeline.engine.chunk import Position
from pipeline.engine.lineage import LineageRefused
from pipeline.engine.partition import Cluster, Commit, Partition, Spec
from pipeline.engine.producer import group_metadata
from pipeline.engine.restore import Reader
from pipeline.errors import Rejected, Unavailable
from pipeline.records import Alert, BillingWork, Command, Counts, Delivery, WebhookWork
from pipeline.settings import Settings
from pipeline.stores.kafka import client as cluster
from pipeline.stores.kafka import topic_ids, topics
from pipeline.stores.kafka.alerts import DeliveriesView
from pipeline.stores.kafka.consumer_groups import group_of
from tests.fixtures.alert_desk import AT_S, METERED, Usage, desk, watch
from tests.fixtures.fake_transaction import DictTable
from tests.fixtures.patience import PATIENCE_S, until
from tests.flow.raising import run_command

pytestmark = pytest.mark.own_broker  # it enlarges topics
BEFORE, RECORDS = 2, 3
NAMES = [f"c{n}" for n in range(12)]
CHANGELOGS = {
    "alert": alert.CHANGELOG,
    "billing": billing.CHANGELOG,
    "stripe-sync": stripe_sync.CHANGELOG,
    "webhook": webhook.CHANGELOG,
}
Rows = dict[bytes, bytes]


def rows_of_webhook() -> Rows:
    table = DictTable()
    for offset, endpoint in enumerate(NAMES):
        work = WebhookWork(
            "deliver", "acme", endpoint, "", 1, Alert(f"a{offset}", "acme", "t", "r", 1, [endpoint], "{}")
        )
        apply(work, offset, 1, table, SCHEDULE_MS)
    return table.rows


def rows_of_billing() -> Rows:
    heads = {
        HEAD + customer_key("acme", one): msgspec.json.encode(CustomerHead("acme", one)) for one in NAMES
    }
    due = {b"d" + customer_key("acme", one): bytes(16) for one in NAMES}
    return heads | due | {b"p": b"[1,2,3]", b"tWORDING": b"[]", RESULT + bytes(10): b"[1]"}


def rows_of_stripe() -> Rows:
    rows: Rows = {b"p": b"\x92\x01\x02"}
    for one in NAMES:
        account = account_of(lane_of("acme", one, "m"), {})
        rows[b"a" + account] = msgspec.msgpack.encode(AccountRow("acme", one, "m", "app", "t", {}, 60, 0, 0))
        rows[due_key((account, 60), 5)] = b"1"
    return rows


class World:
    """An installation with two partitions. Each stage has read RECORDS, and has rows of twelve customers."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self._folder = settings, folder
        self.config = cluster.client_config(settings) | {"log_level": 0}
        made, customer, endpoint = desk()
        made.do("rule.create", watch(endpoint, 10))
        made.do("entitlement.create", METERED)
        made.use([Usage(1).event("a", AT_S, 20)], AT_S)
        self.customer = customer
        for key, definition in made.log.state.items():
            self.publish("control", 0, 1, key.encode(), msgspec.json.encode(definition))
        rows = {
            "alert": made.table.rows,
            "billing": rows_of_billing(),
            "stripe-sync": rows_of_stripe(),
            "webhook": rows_of_webhook(),
        }
        self.owners = owners_of_stages(settings, 0)
        for stage, found in rows.items():
            for key, value in found.items():
                self.owners[stage].learn(key, value)
            for partition in range(BEFORE):
                self.publish(OWNING[stage], partition, RECORDS)
                mine = {key: value for key, value in found.items() if self.is_in(stage, key, partition)}
                with self.owned(stage, partition) as owner:
                    owner.commit(Commit(RECORDS, RECORDS - 1, changes=mine, counts={"acme": {"read": 7}}))

    def is_in(self, stage: str, key: bytes, partition: int) -> bool:
        owner = self.owners[stage].of(key)
        return not isinstance(owner, int) or owner % BEFORE == partition

    def publish(
        self, topic: str, partition: int, records: int, key: bytes | None = None, value: bytes | None = b"[]"
    ) -> None:
        producer = Producer(self.config)
        for _ in range(records):
            producer.produce(topic, value, key, partition)
        assert producer.flush(PATIENCE_S) == 0

    @contextmanager
    def owned(self, stage: str, partition: int, number: int = BEFORE) -> Iterator[Partition]:
        """A partition, taken over with the local table that it had before."""
        owner = self.taken_over(stage, partition, number)
        try:
            yield owner
        finally:
            owner.close()

    def taken_over(self, stage: str, partition: int, number: int = BEFORE, folder: str = "") -> Partition:
        declared = topics.load(
            self.settings.model_copy(update={"partitions": number, "event_partitions": BEFORE})
        )
        lineage = topic_ids.read(self.settings, declared).lineage(topics.of_stage(declared, stage))
        group = group_of(stage)
        known = Cluster(self.config, group, group_metadata(self.config, group), lineage.ids)
        spec = Spec(stage, (OWNING[stage],), f"{stage}-meta", CHANGELOGS[stage], shards=number)
        owner = Partition(spec, known, Position(OWNING[stage], partition), self._folder / (folder or stage))
        owner.fence()
        owner.open()
        return owner

    def items(self, stage: str, partition: int, number: int) -> Rows:
        with self.owned(stage, partition, number) as owner:
            assert owner.table is not None
            return dict(owner.table.items())

    def number(self) -> int:
        """The number that is valid."""
        return topic_ids.known(self.settings, also_while_raising=True)["balances"].partitions

    def values(self, topic: str, partition: int) -> list[tuple[bytes | None, bytes | None]]:
        with Reader(self.config, "test") as reader:
            span = reader.span(topic, partition)
            batches = reader.read(topic, partition, span.first, span.end)
            return [(one.key(), one.value()) for batch in batches for one in batch]


@pytest.fixture
def world(settings: Settings, reset: Callable[[Settings], None], tmp_path: Path) -> World:
    chosen = settings.model_copy(update={"partitions": BEFORE})
    reset(chosen)
    return World(chosen, tmp_path)


def shared_out(owners: StateOwners, rows: Rows, partition: int, number: int) -> Rows:
    """The rows that a partition has after a raise: its own, and those of no owner."""
    kept: Rows = {}
    for key, value in rows.items():
        owner = owners.of(key)
        is_new = partition >= BEFORE
        if owner % number == partition if isinstance(owner, int) else owner is Unowned.SHARED or not is_new:
            kept[key] = value
    return kept


def test_rows_and_records_are_in_the_partition_of_their_owner_alone_and_offsets_continue(
    world: World,
) -> None:
    works = unread_works()
    for work in works:
        world.publish("billing-work", 0, 1, work.kind.encode(), msgspec.json.encode(work))
    for partition in range(5):
        place = Position("events", partition)
        counts = Counts("ingest", "events", partition, 9, "id", {})
        world.publish(INGEST, partition % BEFORE, 1, ledger.key_of(place), msgspec.json.encode(counts))
    before = {(stage, one): world.items(stage, one, BEFORE) for stage in OWNING for one in range(BEFORE)}
    done = raise_customer_partitions(world.settings, 4)
    assert (done.before, done.now, done.events, len(done.topics)) == (2, 4, 2, 24) and done.records > 0
    for stage, owners in world.owners.items():
        for partition in range(4):
            rows = before[stage, partition % BEFORE]
            with world.owned(stage, partition, 4) as owner:
                assert owner.table is not None
                assert owner.restored_records > 0  # also where a table of before is
                expected = shared_out(owners, rows, partition, 4)
                assert dict(owner.table.items()) == expected, (stage, partition)
                counts = owner.counts
                if partition < BEFORE:
                    assert counts.counts == {"acme": {"read": 7}} and owner.next_offset == RECORDS
                else:
                    unread = len(works) if (stage, partition) == ("billing", 2) else 0
                    assert counts.counts == {} and owner.next_offset == 0
                    assert counts.base == counts.offset + 1 == RECORDS + unread
    _check_unread(world, works)
    for partition in range(5):
        newest = dict(world.values(INGEST, partition % 4))
        assert ledger.key_of(Position("events", partition)) in newest
    with world.owned("webhook", 0, 4) as owner:
        assert owner.restored_records == 0  # a table of after is kept
    assert raise_customer_partitions(world.settings, 4).records == 0


HERE, MOVED = (next(one for one in NAMES if customer_hash("acme", one) % 4 == place) for place in (0, 2))


def unread_works() -> list[BillingWork]:
    """Of the first partition: of a customer who stays, of one who moves, and of everybody."""
    works = [
        BillingWork("command", customer=one, command=Command("c", "k", "acme", "me", 1, {}))
        for one in (HERE, MOVED)
    ]
    return [*works, BillingWork("clock", items=[["app", "acme", "a"]])]


def _check_unread(world: World, works: list[BillingWork]) -> None:
    found = [value or b"" for _, value in world.values("billing-work", 2)]
    assert [msgspec.json.decode(value, type=BillingWork) for value in found] == works[1:]
    splits = topic_ids.partitions_of(world.settings, "billing-work", 4)
    assert splits == EventPartitions(4, ((2, 0, RECORDS + 3), (3, 1, RECORDS)))
    moved = customer_hash("acme", MOVED)
    assert [splits.belongs(moved, 0, RECORDS + place) for place in (1, 3)] == [None, 2]


def test_an_interrupted_run_leaves_nothing_behind(world: World, tmp_path: Path) -> None:
    def killed(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        raise_customer_partitions(world.settings, 4, killed)
    assert world.number() == BEFORE and topics.check(world.settings) == []
    with pytest.raises(LineageRefused, match="customer-partitions 4"):  # as a worker reads it
        topic_ids.known(world.settings)
    with pytest.raises(Rejected, match="topics raise --customer-partitions 4` was interrupted"):
        raise_partitions(world.settings, 4)
    raise_customer_partitions(world.settings, BEFORE)
    assert topic_ids.known(world.settings)["balances"].partitions == BEFORE
    gone = next(key for key in world.items("webhook", 1, BEFORE) if key.startswith(b"d/"))
    rows = [gone, b"m/" + gone[2:], b"a/" + gone[2:]]
    with world.owned("webhook", 1) as owner:
        owner.commit(Commit(RECORDS, RECORDS - 1, changes=dict.fromkeys(rows)))
    (tmp_path / "raise.switched").write_text("kill")
    found = run_command(world.settings, 4, tmp_path)
    assert found is not None and found[0] == -signal.SIGKILL and world.number() == 4
    raise_customer_partitions(world.settings, 8)  # ends the removal before it begins
    left = Counter(key for partition in range(8) for key in world.items("webhook", partition, 8))
    assert set(left).isdisjoint(rows) and len(left) == 3 * (len(NAMES) - 1) == left.total()


def test_what_could_be_lost_is_refused_and_a_frozen_owner_is_fenced(world: World) -> None:
    for number in (1, 3):
        with pytest.raises(Rejected, match=f"{number} is not a multiple of it"):
            raise_customer_partitions(world.settings, number)
    unowned = {DUE + bytes(32): b"1"}
    with world.owned("stripe-sync", 0) as owner:
        owner.commit(Commit(RECORDS, RECORDS - 1, changes=unowned))
    with pytest.raises(
        Rejected, match="stripe-sync-changelog/0 holds 1 rows of which the owner is not known"
    ):
        raise_customer_partitions(world.settings, 4)
    assert topic_ids.known(world.settings)["balances"].partitions == BEFORE  # and workers may start
    with world.owned("stripe-sync", 0) as owner:
        owner.commit(Commit(RECORDS, RECORDS - 1, changes=dict.fromkeys(unowned)))
    frozen = world.taken_over("billing", 0, folder="frozen")

    def works(done: int, of: int) -> None:
        world.publish("alert-changelog", 0, 1, b"x", b"")

    with pytest.raises(Unavailable, match="ran meanwhile"):
        raise_customer_partitions(world.settings, 4, works)
    assert world.number() == BEFORE
    with pytest.raises(Unavailable):
        frozen.commit(Commit(RECORDS + 1, RECORDS))


def test_deliveries_are_listed_once_wherever_readers_have_begun(world: World) -> None:
    for n, endpoint in enumerate(NAMES):
        delivery = Delivery(f"d{n}", "acme", endpoint, f"a{n}", "t", "r", 1, "PENDING", [], 1, 0, 0)
        value = msgspec.json.encode(delivery)
        world.publish("deliveries", endpoint_hash("acme", endpoint) % BEFORE, 1, b"d%d" % n, value)
    ids = {f"d{n}" for n in range(len(NAMES))}
    with DeliveriesView(world.settings) as early:
        until(lambda: set(early.snapshot()) == ids)
        raise_customer_partitions(world.settings, 4)
        world.publish("deliveries", endpoint_hash("acme", NAMES[0]) % 4, 1, b"d0", None)
    with DeliveriesView(world.settings) as late:
        late.wait_loaded()
        assert set(late.snapshot()) == ids - {"d0"}
    split = Split(BEFORE, 4)
    for partition in range(BEFORE):
        newest = dict(world.values("deliveries", partition))
        assert all(
            split.moves(endpoint_hash("acme", NAMES[int((key or b"")[1:])]), partition) is None
            for key, value in newest.items()
            if value is not None
        )


def test_every_stage_that_writes_to_these_topics_is_fenced() -> None:
    declared = topics.load(Settings.model_construct(partitions=4, event_partitions=8))
    names = customer_topics(declared)
    writers = {one for name in names for one in declared[name].producers} - {"api"}
    assert writers == set(WRITERS)
    assert {declared[f"{stage}-changelog"].sharded for stage in OWNING} == {True}
