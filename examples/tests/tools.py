"""What the tests share: a real node, an example as a process, and HTTP in between that kills it."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path[:0] = [EXAMPLES, os.path.join(EXAMPLES, "..", "clients", "python", "tests")]

import node as real  # noqa: E402 (it adds the client to the path)

import changeagent  # noqa: E402

#: Seconds after which something hangs.
PATIENCE_S = 60
TENANT = "shop"


class Example:
    """One of the examples, which is started again after each kill."""

    def __init__(self, *command: str) -> None:
        self._command = [sys.executable, os.path.join(EXAMPLES, command[0]), *command[1:]]
        self.kills = 0
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def kill(self) -> None:
        self.process.kill()
        self.kills += 1

    def reap(self) -> str:
        """What it wrote to standard error until it ended."""
        return self.process.communicate(timeout=PATIENCE_S)[1]


class Case(unittest.TestCase):
    """A node with a tenant, and a folder for what an example stores."""

    #: Flags of the node.
    flags: tuple[str, ...] = ()
    #: The example that `between` kills.
    relay: Example

    def setUp(self) -> None:
        self.node = real.Node(*self.flags)
        self.addCleanup(self.node.stop)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.client = changeagent.Client(self.node.url)
        self.addCleanup(self.client.close)
        self.tenant = self.client.create_tenant(TENANT)

    def example(self, *command: str) -> Example:
        started = Example(*command)

        def end() -> None:
            started.process.kill()
            started.reap()

        self.addCleanup(end)
        return started

    def eventually(self, what: str, holds: Callable[[], Any], example: Example | None = None) -> None:
        """Waits until it holds; an example that was killed meanwhile is started again."""
        end = time.monotonic() + PATIENCE_S
        while not holds():
            if example and example.process.poll() is not None:
                said = example.reap()
                self.assertEqual(example.process.returncode, -9, said)
                example.start()
            self.assertLess(time.monotonic(), end, f"it does not come about: {what}")
            time.sleep(0.005)

    def between(self, keys: list[str], every: int) -> str:
        """Passes writes on to the node, notes the keys of appends, and at each so many of them
        kills `self.relay`: in turn before the node hears of it, and after it has answered.
        """
        test = self

        class Between(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                appends = self.path.endswith("/changes")
                if appends:
                    keys.append(self.headers["Idempotency-Key"])
                due = appends and len(keys) % every == 0
                if due and len(keys) % (2 * every) == 0:
                    return test.relay.kill()
                status, headers, body = forward(test.node.url, self)
                if due:
                    return test.relay.kill()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return serve(self, Between)

    def listed(self) -> list[changeagent.Change]:
        """The tenant's whole list."""
        changes: list[changeagent.Change] = []
        while True:
            page = self.client.read(tenant=TENANT, since=changes[-1].id if changes else 0, limit=1000)
            changes += page.changes
            if page.at_end:
                return changes


def serve(case: unittest.TestCase, handler: type[BaseHTTPRequestHandler]) -> str:
    """Runs a server until the test ends: its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    case.addCleanup(end)
    return f"http://127.0.0.1:{server.server_port}"


def forward(url: str, request: BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
    """Asks a node what a server was asked."""
    size = int(request.headers.get("Content-Length") or 0)
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
    try:
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        connection.request(request.command, request.path, request.rfile.read(size), headers)
        answer = connection.getresponse()
        kept = ("content-type", "changeagent-cluster")
        return answer.status, {name: value for name, value in answer.getheaders() if name.lower() in kept}, answer.read()
    finally:
        connection.close()
