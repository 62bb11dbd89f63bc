"""A receiver of webhooks in a run where those who send them are killed in the middle of a request.

Owns: the server, and noting what it could not accept. Does not own: what it answers (flow.webhooks, quotas).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from tests.flow.webhooks import Receiver, _handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    refused: list[str]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that goes away is no error; a wrong signature is."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.refused.append(repr(error))


@contextmanager
def receiving() -> Iterator[tuple[Receiver, list[str]]]:
    """A receiver on a port of its own, and what it refused."""
    receiver = Receiver()
    server = _Server(("127.0.0.1", 0), _handler(receiver))
    server.refused = []
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield receiver, server.refused
    finally:
        server.shutdown()
        server.server_close()
