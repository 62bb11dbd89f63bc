"""The buffer of the sync client: one thread that sends the events of its callers.

Owns: the thread, its lock, the end of the process. Does not own: bounds (_pending), delivery (_ingest, the client).
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from types import TracebackType

from tallymark import _fork
from tallymark._batch import Batch
from tallymark._errors import Failure, NotAccepted, TallymarkError
from tallymark._event import AnyEvent, Prepared, prepare
from tallymark._ingest import Delivered, IngestWarning
from tallymark._pending import Bounds, Pending

_LOOK_S = 1.0  # how often a waiting caller checks that the thread is alive


class Buffer:
    """Collects events and sends them in batches from its own thread. Created by `Client.buffered`.

    Safe for threads. Nothing is lost silently: events that were not accepted are raised by `flush` and by the end of
    the `with` block, or passed to `on_failure`. Events in the buffer are lost by SIGKILL, os._exit, and a SIGTERM that
    the process does not turn into an ordinary exit.
    """

    def __init__(
        self,
        deliver: Callable[[Batch], Delivered],
        bounds: Bounds,
        on_failure: Callable[[NotAccepted], object] | None = None,
    ) -> None:
        self._deliver = deliver
        self._bounds = bounds.check()
        self._on_failure = on_failure
        self._closed = False
        self._fresh()
        _fork.register(self)
        atexit.register(self.close)

    def send(self, event: AnyEvent) -> None:
        """Add an event; a missing id and time are set now. Waits while the buffer is full, which is the back-pressure.

        Raises:
            BadEvent: The event is invalid.
            RuntimeError: The buffer is closed.
            NotAccepted: As many events have failed as the buffer may hold; this event is one of `unaccepted`.
        """
        prepared = prepare(event)
        with self._lock:
            self._refuse_closed()
            self._ensure_thread()
            while not self._pending.has_room(prepared) and not self._pending.brims():
                self._wait_settled()
            self._refuse_closed()
            if self._pending.brims():
                raise self._brimming(prepared)
            if self._pending.put(prepared, time.monotonic()):
                self._work.notify()

    def flush(self) -> None:
        """Return when all earlier events are accepted. Raises NotAccepted with those that were not."""
        with self._lock:
            until = self._pending.flush()
            self._work.notify()
            while self._pending.settled < until:
                self._ensure_thread()
                self._wait_settled()
            error = self._pending.not_accepted()
        if error is not None:
            raise error

    def close(self) -> None:
        """Flush, and end the thread. Raises NotAccepted. A second call has no effect."""
        with self._lock:
            self._closed = True
        try:
            self.flush()
        finally:
            atexit.unregister(self.close)
            with self._lock:
                self._ended = True
                self._work.notify()

    @property
    def warnings(self) -> tuple[IngestWarning, ...]:
        """The newest 1,000 warnings of the server; `first` is an index in the batch."""
        with self._lock:
            return tuple(self._pending.warnings)

    def __enter__(self) -> Buffer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def after_fork(self) -> None:
        """In a child: drop the events, which the parent sends; its thread does not exist here."""
        self._fresh()

    def _fresh(self) -> None:
        self._pending = Pending(self._bounds)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._settled = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._ended = False

    def _refuse_closed(self) -> None:
        if self._closed:
            raise RuntimeError("this buffer is closed")

    def _brimming(self, event: Prepared) -> NotAccepted:
        error = self._pending.not_accepted(
            Failure(event, TallymarkError("too many events before it have failed"))
        )
        assert error is not None
        return error

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            # A daemon, so that an open buffer does not block the end of the process; atexit flushes it.
            self._thread = threading.Thread(target=self._run, name="tallymark-buffer", daemon=True)
            self._thread.start()

    def _wait_settled(self) -> None:
        self._settled.wait(_LOOK_S)

    def _run(self) -> None:
        while batch := self._next():
            delivered = self._try(batch)
            with self._lock:
                self._pending.settle(batch, delivered)
                self._settled.notify_all()

    def _next(self) -> Batch:
        """Wait for the next batch that is due; empty at the end."""
        with self._lock:
            while (due_in_s := self._pending.due_in_s(time.monotonic())) != 0:
                if self._ended and due_in_s is None:
                    return ()
                self._work.wait(due_in_s)
            return self._pending.take()

    def _try(self, batch: Batch) -> Delivered:
        try:
            delivered = self._deliver(batch)
        except Exception as error:
            delivered = Delivered(tuple(Failure(event, error) for event in batch))
        if not delivered.failures or self._on_failure is None:
            return delivered
        try:
            self._on_failure(NotAccepted(delivered.failures))
        except Exception:  # the failures are kept, and raised later
            return delivered
        return Delivered((), delivered.warnings)
