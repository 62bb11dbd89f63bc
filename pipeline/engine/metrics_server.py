"""A small HTTP server of its own thread, for metrics and readiness.

Owns: listening, the port when that of the settings is taken, the URL. Does not own: what is answered (agents.health,
api.operation.process_metrics). It is auxiliary: a process also works without it.
"""

from __future__ import annotations

import logging
import socket
import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

EVERYWHERE = ("0.0.0.0", "::")

log = logging.getLogger("tallymark.metrics")


def serve(app: Any, host: str, port: int) -> str:
    """Start the server; returns its URL as other hosts see it, or "" if it cannot listen.

    Args:
        app: of WSGI.
        host: the address to listen on.
        port: 0 selects a free one, and a taken port is replaced by a free one.
    """
    try:
        server = _listen(host, port, app)
    except OSError as error:
        log.warning("cannot serve metrics on %s:%d, using a free port: %s", host, port, error)
        try:
            server = _listen(host, 0, app)
        except OSError as again:
            log.warning("cannot serve metrics on %s: %s", host, again)
            return ""
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    seen = socket.gethostname() if host in EVERYWHERE else host
    return f"http://{f'[{seen}]' if ':' in seen else seen}:{server.server_port}/metrics"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without the name look-up of HTTPServer, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        return


def _listen(host: str, port: int, app: Any) -> WSGIServer:
    kind = _Server6 if ":" in host else _Server
    return make_server(host, port, app, kind, handler_class=_Silent)
