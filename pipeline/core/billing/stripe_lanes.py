"""The requests of lanes: which is made next, and what its outcome does.

Owns: when a lane may send, the bytes of a request, what an outcome, the summaries and a report change. Does not own:
the states of a window (stripe_window), usage (stripe_table), calls (agents.stripe_dispatch).

A lane (a customer and a mapping) has one request at most. Where something that it needs is missing or not ready, it
waits; its units stay open until Stripe does not take them any more, and then they have the cause `too_old`:

    the customer has no id at Stripe   it is sent when the id is set
    the id is changed                  what was sent stays with the old id, a request in progress too; the differences
                                       from then on go to the new id
    the app's key is refused           it is sent when the key was replaced
    the app was uninstalled            nothing is sent, and a request in progress stays in progress
    the mapping was deleted            no new request is made; a request in progress gets its outcome
    historical usage is being loaded   it is sent when all of it has come, so that a window costs one call
"""

from __future__ import annotations

import msgspec

from pipeline.core.billing.stripe_index import LaneName
from pipeline.core.billing.stripe_mappings import Mapping, Touched
from pipeline.core.billing.stripe_rows import (
    ACCOUNT,
    LANE_BYTES,
    REFUSED,
    REQUEST,
    WINDOW,
    AccountRow,
    GroupRow,
    IdentifierRow,
    RefusedRow,
    RequestRow,
    WindowPlace,
    WindowRow,
    group_key,
    identifier_key,
    lane_of,
    seeded_key,
    window_key,
    window_place,
)
from pipeline.core.billing.stripe_state import StripeState
from pipeline.core.billing.stripe_window import (
    accept,
    give_up_look,
    look,
    prepare,
    refuse_look,
    retry_refused,
    settle,
)
from pipeline.core.values import number
from pipeline.records import StripeWork

PREPARED_AT_ONCE = 500  # lanes whose next request one record makes; the others follow with the next record
PASSED_AT_ONCE = 64  # windows of a lane that are given up in one step
SCANNED = 1_000
EXACT_BELOW = 2**53  # a sum of Stripe is a float: from here on its last digits are lost


class StripeLanes:
    """The lanes of a partition within a chunk."""

    def __init__(self, state: StripeState) -> None:
        self._state = state
        self._rows = state.rows
        self._index = state.index

    # -- the next request ---------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Make the next request of each lane that may send."""
        for lane in self._index.take(self._state.now_ms, PREPARED_AT_ONCE):
            if lane not in self._index.busy:
                self._send_next(lane)

    def _send_next(self, lane: bytes) -> None:
        for _ in range(PASSED_AT_ONCE):
            found = self._rows.first_due(lane)
            if found is None:
                return
            place, ready_ms = found
            if ready_ms > self._state.now_ms:
                break
            account = self._rows.accounts.get(ACCOUNT + place[0])
            row = self._state.window(place)
            if account is None or row.ready_at_ms != ready_ms:
                self._rows.remove_due(place, ready_ms)
            elif not self._prepare(lane, place, account, row):
                return
        if (found := self._rows.first_due(lane)) is not None:
            self._index.set(lane, found[1])

    def _prepare(self, lane: bytes, place: WindowPlace, account: AccountRow, row: WindowRow) -> bool:
        """Make the next request of a window. Returns whether the lane may try its next window at once."""
        definitions = self._state.definitions
        mapping = definitions.mapping(account.namespace, account.mapping)
        app = definitions.app(account.namespace, account.app)
        customer = definitions.customer(account.namespace, account.customer, account.app)
        is_seeded = self._rows.seeded.get(seeded_key(account.namespace, account.mapping)) is not None
        is_ready = app is not None and app.ready and is_seeded
        if mapping is None or mapping.is_deleted or customer is None or not is_ready:
            self._index.park(lane, _name(account))
            return False
        stripe_id = row.blocked_customer if row.window.accepts and row.blocked_customer else customer.id
        payload = {mapping.customer_key: stripe_id, **{k: v for k, v in account.dimensions.items() if v}}
        body = msgspec.json.encode(
            (account.namespace, account.customer, mapping.id, mapping.event_name, mapping.value_key, payload)
        ).decode()
        if prepare(row.window, account.app, body, place[1], self._state.now_ms):
            self._keep_request(lane, place, account, row, mapping, payload)
        self._state.write(place, row, account.window_s)
        return lane not in self._index.busy

    def _keep_request(
        self,
        lane: bytes,
        place: WindowPlace,
        account: AccountRow,
        row: WindowRow,
        mapping: Mapping,
        payload: dict[str, str],
    ) -> None:
        request = row.window.request
        if request is None:  # it is too old
            return
        stripe_customer = payload[mapping.customer_key]
        sent = RequestRow(
            account.namespace, account.customer, mapping.id, account.app, place[0], place[1], account.window_s,
            mapping.stripe_meter, stripe_customer, mapping.event_name,
            payload | {mapping.value_key: str(request.units)}, request.identifier,
        )  # fmt: skip
        self._rows.requests.put(REQUEST + lane, sent)
        made = IdentifierRow(place[0], place[1], request.units, stripe_customer, revision=request.revision)
        self._rows.identifiers.put(identifier_key(request.identifier), made)
        self._index.busy.add(lane)
        self._state.lanes[lane] = None

    # -- outcomes -----------------------------------------------------------------------------------------------

    def settle(self, work: StripeWork) -> None:
        """Apply the outcome of an attempt, or what the summaries held. One of an older request changes nothing."""
        lane = lane_of(work.namespace, work.customer, work.mapping)
        flight = self._state.flight(lane)
        if flight is None or flight.sent.identifier != work.identifier:
            return
        sent, revision, now_ms = flight.sent, flight.request.revision, self._state.now_ms
        place = (sent.account, sent.start_s)
        row = self._state.window(place)
        window, confirmed = row.window, row.window.confirmed
        if work.kind == "seen" and work.outcome == "refused":
            refuse_look(window, revision, work.message)
        elif work.kind == "seen":
            self._look(lane, sent, row, revision, work)
        elif work.outcome:
            settle(window, revision, work.outcome, now_ms, work.message, work.stored)
            if window.request is not None and work.retry_after_ms:
                asked_ms = now_ms + work.retry_after_ms
                window.request.next_at_ms = max(window.request.next_at_ms, asked_ms)
        if confirmed != window.confirmed:
            self._confirm(lane, sent.start_s, sent.stripe_customer, window.confirmed - confirmed)
        self._state.lanes[lane] = None
        if window.request is None:
            self._rows.requests.put(REQUEST + lane, None)
            self._index.busy.discard(lane)
            if confirmed == window.confirmed:
                self._close(sent.identifier)
            if window.cause == "refused":
                self._keep_refused(lane, LaneName(sent.namespace, sent.customer, sent.mapping, sent.app))
        self._state.write(place, row, sent.window_s)
        if window.request is None and (found := self._rows.first_due(lane)) is not None:
            self._index.set(lane, found[1])

    def _look(self, lane: bytes, sent: RequestRow, row: WindowRow, revision: int, work: StripeWork) -> None:
        """Apply what the summaries hold of this window alone.

        They hold the sum of all accounts of the lane that were sent to the same customer of Stripe. A sum that is not
        whole, or too large for a float, matches nothing, and is not accepted.
        """
        window, now_ms = row.window, self._state.now_ms
        units = number.exact(work.units or "0")
        group = self._rows.groups.get(group_key(lane, sent.start_s))
        together = 0 if group is None else group.units.get(sent.stripe_customer, 0)
        is_exact = units % number.SCALE == 0 and abs(units) < EXACT_BELOW * number.SCALE
        if is_exact:
            look(window, revision, units // number.SCALE - together + window.confirmed, now_ms)
        elif window.request is not None and not window.request.units:
            give_up_look(window, revision)
        else:
            nothing = window.confirmed - 1 - abs(window.request.units if window.request else 0)
            look(window, revision, nothing, now_ms)
        if window.request is None:
            row.blocked_customer = sent.stripe_customer if window.cause == "blocked" else ""

    def _close(self, identifier: str) -> None:
        """A request ended without being confirmed: a late report of it has nothing to take back."""
        key = identifier_key(identifier)
        made = self._rows.identifiers.get(key)
        if made is not None:
            made.reported = True
            self._rows.identifiers.put(key, made)

    def _confirm(self, lane: bytes, start_s: int, stripe_customer: str, units: int) -> None:
        key = group_key(lane, start_s)
        row = self._rows.groups.get(key) or GroupRow({})
        row.units[stripe_customer] = row.units.get(stripe_customer, 0) + units
        self._rows.groups.put(key, row)

    def report(self, work: StripeWork) -> None:
        """Stripe took an event and did not count it: what was confirmed is refused. A second report changes nothing."""
        made = self._rows.identifiers.get(identifier_key(work.identifier))
        account = None if made is None else self._rows.accounts.get(ACCOUNT + made.account)
        if made is None or made.reported or account is None:
            return
        if work.namespace and work.namespace != account.namespace:
            return  # the webhook of another namespace names it
        place, lane = (made.account, made.start_s), made.account[:LANE_BYTES]
        row = self._state.window(place)
        if 0 < made.revision <= row.window.settled:
            return  # the sum that was accepted does not contain it
        if row.window.request is not None and row.window.request.identifier == work.identifier:
            settle(row.window, row.window.request.revision, "done", self._state.now_ms)
            self._rows.requests.put(REQUEST + lane, None)
            self._index.busy.discard(lane)
            self._state.lanes[lane] = None
        else:
            self._confirm(lane, made.start_s, made.stripe_customer, -made.units)
        made.reported = True
        self._rows.identifiers.put(identifier_key(work.identifier), made)
        row.window.confirmed -= made.units
        row.window.unsendable += made.units
        if row.window.cause != "blocked":  # which units Stripe has of a blocked window stays unknown
            row.window.cause, row.window.message = "refused", work.message
            self._keep_refused(lane, _name(account))
        self._state.write(place, row, account.window_s)
        if (found := self._rows.first_due(lane)) is not None:
            self._index.set(lane, found[1])

    def _keep_refused(self, lane: bytes, name: LaneName) -> None:
        customer = self._state.definitions.customer(name.namespace, name.customer, name.app)
        revision = 0 if customer is None else customer.revision
        self._rows.refused.put(REFUSED + lane, RefusedRow(*name, revision))
        self._index.refused[lane] = name

    # -- definitions --------------------------------------------------------------------------------------------

    def wake(self, touched: Touched) -> None:
        """Let lanes try again that depend on a definition which has changed."""
        self._index.unpark(lambda name: name.needs(touched), self._state.now_ms)
        if touched.kind == "customer":
            for lane in [lane for lane, name in self._index.refused.items() if name.needs(touched)]:
                self._retry_if_changed(lane)
        if touched.kind == "app":
            for lane in sorted(self._index.busy):
                self._resume(lane, touched)

    def wake_all(self) -> None:
        """Let every lane try again: definitions may have changed while no worker had the partition."""
        self._index.unpark(lambda _: True, self._state.now_ms)
        for lane in list(self._index.refused):
            self._retry_if_changed(lane)

    def retry(self, lane: bytes, accepts: bool = False) -> None:
        """Let everything that Stripe refused of a lane be sent again. accepts: its sums count for blocked windows."""
        for place, row, account in self._windows(lane):
            if row.window.cause == "refused":
                retry_refused(row.window)
            elif not (accepts and accept(row.window)):
                continue
            self._state.write(place, row, account.window_s, pause_ms=0)
        self._rows.refused.put(REFUSED + lane, None)
        self._index.refused.pop(lane, None)

    def show_again(self, lane: bytes, offset: int) -> None:
        """Publish the windows of a lane again that have changed since a record."""
        for place, row, _ in self._windows(lane):
            if row.applied >= offset:
                self._state.changed[place] = None

    def _windows(self, lane: bytes) -> list[tuple[WindowPlace, WindowRow, AccountRow]]:
        keys = [window_key(place) for place in self._state.changed if place[0].startswith(lane)]
        start, prefix = WINDOW + lane, WINDOW + lane
        while rows := [key for key, _ in self._rows.table.scan(start, SCANNED) if key.startswith(prefix)]:
            keys += rows
            start = rows[-1] + b"\x00"
        self._rows.windows.load(keys)
        found = []
        for key in dict.fromkeys(keys):
            place = window_place(key)
            row, account = self._rows.windows.get(key), self._rows.accounts.get(ACCOUNT + place[0])
            if row is not None and account is not None:
                found.append((place, row, account))
        return found

    def _retry_if_changed(self, lane: bytes) -> None:
        row = self._rows.refused.get(REFUSED + lane)
        if row is None:
            return
        customer = self._state.definitions.customer(row.namespace, row.customer, row.app)
        if customer is not None and customer.revision > row.revision:
            self.retry(lane)

    def _resume(self, lane: bytes, touched: Touched) -> None:
        """A request that waits because the app's key was refused is sent at once after the app has changed."""
        flight = self._state.flight(lane)
        if flight is None or (flight.sent.namespace, flight.sent.app) != (touched.namespace, touched.name):
            return
        app = self._state.definitions.app(touched.namespace, touched.name)
        place = (flight.sent.account, flight.sent.start_s)
        row = self._state.window(place)
        request = row.window.request
        is_unsent = request is not None and request.units != 0 and request.seen is None
        if app is not None and app.ready and request is not None and is_unsent:
            request.next_at_ms = min(request.next_at_ms, self._state.now_ms)
            self._state.write(place, row, flight.sent.window_s)
        self._state.lanes[lane] = None


def _name(account: AccountRow) -> LaneName:
    return LaneName(account.namespace, account.customer, account.mapping, account.app)
