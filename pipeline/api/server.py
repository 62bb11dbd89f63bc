"""`tallymark api`: the HTTP API in one or several processes on one port.

Owns: the listening socket, the processes that share it, and their end in good order. Does not own: what is served
(app), how patient a connection is (http.slow_clients).

All processes accept on one socket that the first one opened; one that dies is started again and loses only the
requests in progress, which were not acknowledged. When the first one is killed, the others finish their
requests and end.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

import uvicorn
from fastapi import FastAPI

from pipeline.api.app import create_app
from pipeline.api.http.bulkheads import View
from pipeline.api.http.slow_clients import LIMITS, guarded
from pipeline.api.operation.process_metrics import served
from pipeline.engine import collector
from pipeline.errors import Broken, Rejected
from pipeline.settings import Settings

log = logging.getLogger("tallymark.api")

GRACE_S = 10  # for requests in progress when the server gets the signal to end
BACKLOG = 2048
COLLECT_AFTER = 50_000  # objects
_AGAIN_S = 1.0  # between two starts of a process that does not stay up
_TICK_S = 0.2


def serve(settings: Settings, processes: int = 1) -> None:
    """Serves until SIGTERM or SIGINT. Raises Rejected when the address cannot be listened on."""
    listening = listen(settings.api_host, settings.api_port)
    host, port = listening.getsockname()[:2]
    print(f"tallymark api listens on {host}:{port}, {processes} process(es)", file=sys.stderr, flush=True)
    with served(settings, processes):
        if processes == 1:
            run(settings, listening)
        else:
            _Processes(settings, listening, processes).run()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Rejected with a sentence."""
    try:
        (family, *_, address) = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise Rejected("bad-address", f"{host}:{port} cannot be listened on: {why}.") from error


def run(settings: Settings, listening: socket.socket) -> None:
    """Serves in this process until a signal; requests in progress are answered first."""
    _allow_open_files(LIMITS.max_connections + 512)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=guarded(settings.api_connections_per_ip),
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(LIMITS.idle_s),
        timeout_graceful_shutdown=GRACE_S,
    )
    _Server(config, app).run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's, which tunes the collector of cycles once the definitions are in memory."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._tuning: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        if not self.should_exit:
            self._tuning = asyncio.create_task(_tune_collector(self._app.state.services.definitions))


async def _tune_collector(definitions: View) -> None:
    """Look for cycles rarely: the definitions in memory live as long as the process, and a request leaves few cycles.

    A search through the definitions of 100,000 customers would stop all requests for half a second.
    """
    while not definitions.is_decided():  # noqa: ASYNC110 - a view has no event of this loop
        await asyncio.sleep(_TICK_S)
    collector.look_rarely(COLLECT_AFTER, young=20)


def _allow_open_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Processes:
    """Keeps `count` processes on one socket."""

    def __init__(self, settings: Settings, listening: socket.socket, count: int) -> None:
        self._settings = settings
        self._listening = listening
        self._context = multiprocessing.get_context("spawn")
        self._running: list[BaseProcess] = []
        self._count = count
        self._stop = False

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        try:
            self._running = [self._start() for _ in range(self._count)]
            while not self._stop:
                wait([process.sentinel for process in self._running], _TICK_S)
                self._replace_dead()
        finally:
            self._end_all()

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._stop = True

    def _start(self) -> BaseProcess:
        process = self._context.Process(target=_child, args=(self._settings, self._listening), daemon=False)
        process.start()
        return process

    def _replace_dead(self) -> None:
        for place, process in enumerate(self._running):
            if not process.is_alive() and not self._stop:
                log.error("process %s ended with %s; another one starts", process.pid, process.exitcode)
                time.sleep(_AGAIN_S)
                self._running[place] = self._start()

    def _end_all(self) -> None:
        for process in self._running:
            process.terminate()
        deadline = time.monotonic() + GRACE_S + 5
        for process in self._running:
            process.join(max(deadline - time.monotonic(), 0))
            if process.is_alive():
                process.kill()
                process.join()


def _child(settings: Settings, listening: socket.socket) -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        raise Broken("a process of the API runs on its own")

    def end_with_parent() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, name="end-with-parent", daemon=True).start()
    run(settings, listening)
