"""A node that fails as its script says, over real sockets."""

from __future__ import annotations

import itertools
import json
import random
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable
from urllib.parse import unquote

from history import History, Read, Refusal, encode


class Cut(Exception):
    """The connection is to be cut here."""


@dataclass
class Fault:
    """What goes wrong with one request."""

    #: Refused with this.
    refusal: Refusal | None = None
    #: A write is applied, then refused with this.
    refusal_after: Refusal | None = None
    #: The connection is closed before anything is done.
    drop: bool = False
    #: The connection is cut after so many bytes of the answer.
    cut: int | None = None
    #: The answer is sent in pieces of so many bytes, so many seconds apart.
    piece: int | None = None
    pause: float = 0.0
    #: Bodies are sent in chunks of 1 to so many bytes.
    chunk: int | None = None
    #: The ids that are listed become these.
    rewrite: Callable[[list[int]], list[int]] | None = None
    #: Something in between answers instead: a page of its own with this status.
    portal: int | None = None
    #: A stream says nothing more after what is there.
    silent: bool = False


@dataclass
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def since(self) -> int | None:
        found = [part[6:] for part in self.target.partition("?")[2].split("&") if part[:6] == "since="]
        return int(found[0]) if found and found[0].isdigit() else None


Script = Callable[[Asked, int], Fault | None]


class Node:
    """Serves a history on a port of its own until it is stopped.

    `script` is asked what to do wrong with each request, by its number from 0.
    """

    def __init__(
        self,
        history: History,
        script: Script | None = None,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ):
        self.history = history
        self.tls = tls
        self.script = script or (lambda asked, number: None)
        self.token = token
        #: Whether it answers although it holds less than it is asked for.
        self.ignores_min_id = False
        self.asked: list[Asked] = []
        #: What a connection did that it must not.
        self.troubles: list[str] = []
        self._stopped = threading.Event()
        self._lock = threading.RLock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Goes away: cuts all connections and takes no more."""
        self._stopped.set()
        with self._lock:
            connections = [self._listener, *self._open]
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._listener.close()
        with self.history.changed:
            self.history.changed.notify_all()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self.tls:
                connection.settimeout(10)
                connection = self.tls.wrap_socket(connection, server_side=True)
                connection.settimeout(None)
            with self._lock:
                self._open.add(connection)
            buffer = bytearray()
            while not self._stopped.is_set():
                asked = receive(connection, buffer)
                if asked is None:
                    return
                with self._lock:
                    self.asked.append(asked)
                    number = len(self.asked) - 1
                    fault = self.script(asked, number) or Fault()
                if fault.drop:
                    return
                wire = Wire(connection, fault)
                try:
                    self._answer(asked, fault, wire)
                except Cut:
                    if number % 2:
                        # A reset: what was sent and not read yet may be lost, too.
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
        except OSError:
            return
        except Exception as error:
            self.troubles.append(repr(error))
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _answer(self, asked: Asked, fault: Fault, wire: Wire) -> None:
        if fault.portal:
            headers = {"Content-Type": "text/html", "Location": "http://127.0.0.1:9/"}
            return wire.whole(fault.portal, b"<html>Welcome to the hotel</html>", headers)
        history = self.history
        own = {"ChangeAgent-Cluster": history.cluster, "ChangeAgent-Last": str(history.last)}
        try:
            if fault.refusal:
                raise fault.refusal
            if self.token is not None and asked.headers.get("authorization") != f"Bearer {self.token}":
                raise Refusal(401, "unauthenticated")
            if asked.method == "GET":
                return self._read(Read(asked.target, asked.headers.get("accept", ""), history), fault, wire, own)
            body = json.loads(asked.body) if asked.body else None
            status, answer = history.write(asked.method, asked.target, body, asked.headers)
            if fault.refusal_after:
                raise fault.refusal_after
            wire.whole(status, encode(answer).encode(), {"Content-Type": "application/json", **own})
        except Refusal as refusal:
            headers = {"Content-Type": "application/problem+json", **own, **refusal.headers}
            wire.whole(refusal.status, encode(refusal.problem).encode(), headers)

    def _read(self, read: Read, fault: Fault, wire: Wire, own: dict[str, str]) -> None:
        history = self.history
        if read.path.endswith("/state"):
            return self._state(read, wire, own)
        if "/keys" in read.path:
            return self._keys(read, wire, own)
        if read.is_stream:
            return self._stream(read, fault, wire, own)
        ids, last = self._wait(read)
        ids = fault.rewrite(ids) if fault.rewrite else ids
        changes = ",".join(history.text(id) for id in ids)
        at_end = str(last >= history.last).lower()
        page = f'{{"changes":[{changes}],"atStart":false,"atEnd":{at_end},"last":{last}}}'
        wire.whole(200, page.encode(), {"Content-Type": "application/json", **own})

    def _wait(self, read: Read) -> tuple[list[int], int]:
        """What a page lists, once there is something or the time is up."""
        end = time.monotonic() + read.block
        with self.history.changed:
            while True:
                ids, last = self.history.listed(read.path, read.tags, read.since, read.limit)
                left = end - time.monotonic()
                if ids or left <= 0 or self._stopped.is_set():
                    return ids, last
                self.history.changed.wait(left)

    def _stream(self, read: Read, fault: Fault, wire: Wire, own: dict[str, str]) -> None:
        wire.start(200, {"Content-Type": "application/x-ndjson", **own})
        while True:
            ids, last = self._wait(read)
            if self._stopped.is_set():
                raise Cut
            sent = fault.rewrite(ids) if fault.rewrite else ids
            for id in sent:
                wire.chunk(self.history.text(id).encode() + b"\n")
            read.since = last
            if last >= self.history.last and read.cursors:
                wire.chunk(f'{{"last":{last}}}\n\n'.encode())
            if fault.silent:
                self._stopped.wait(60)
            if not ids:
                return wire.end()

    def _state(self, read: Read, wire: Wire, own: dict[str, str]) -> None:
        since, ids = self.history.state(read.path, read.after)
        if since < read.min_id and not self.ignores_min_id:
            raise Refusal(503, "behind")
        wire.start(200, {"Content-Type": "application/x-ndjson", **own})
        wire.chunk(f'{{"cluster":"{self.history.cluster}","since":{since}}}\n'.encode())
        for id in ids:
            wire.chunk(self.history.text(id).encode() + b"\n")
        wire.chunk(f'{{"end":true,"since":{since}}}\n'.encode())
        wire.end()

    def _keys(self, read: Read, wire: Wire, own: dict[str, str]) -> None:
        path, _, key = read.path.partition("/keys")
        collection = unquote(path.split("/")[2])
        if key:
            id = self.history.keys.get((collection, unquote(key[1:])))
            if id is None:
                raise Refusal(404, "not-found")
            return wire.whole(200, self.history.text(id).encode(), {"Content-Type": "application/json", **own})
        rows = sorted((key.encode(), id) for (of, key), id in self.history.keys.items() if of == collection)
        rows = [row for row in rows if row[0] > (read.after or "").encode()]
        rows = [row for row in rows if row[0].startswith(read.prefix.encode())]
        listed = ",".join(self.history.text(id) for _, id in rows[: read.limit])
        page = f'{{"keys":[{listed}],"atEnd":{str(len(rows) <= read.limit).lower()}}}'
        wire.whole(200, page.encode(), {"Content-Type": "application/json", **own})


def receive(connection: socket.socket, buffer: bytearray) -> Asked | None:
    """The next request, None at the end of the connection."""
    while b"\r\n\r\n" not in buffer:
        part = connection.recv(65536)
        if not part:
            return None
        buffer += part
    head, _, rest = bytes(buffer).partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    while len(rest) < length:
        part = connection.recv(65536)
        if not part:
            return None
        rest += part
    buffer[:] = rest[length:]
    method, target, _ = first.split(" ")
    return Asked(method, target, headers, rest[:length])


class Wire:
    """The way of an answer, with its fault."""

    def __init__(self, connection: socket.socket, fault: Fault):
        self._connection = connection
        self._fault = fault
        self._sent = 0
        self._random = random.Random(17)

    def whole(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        if self._fault.chunk:
            self.start(status, headers)
            self.chunk(body)
            return self.end()
        self._write(head(status, {**headers, "Content-Length": str(len(body))}) + body)

    def start(self, status: int, headers: dict[str, str]) -> None:
        self._write(head(status, {**headers, "Transfer-Encoding": "chunked"}))

    def chunk(self, data: bytes) -> None:
        if self._fault.chunk is None:
            return self._write(b"%x\r\n%s\r\n" % (len(data), data))
        while data:
            size = self._random.randint(1, self._fault.chunk)
            part, data = data[:size], data[size:]
            self._write(b"%x;half=1\r\n%s\r\n" % (len(part), part))

    def end(self) -> None:
        self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        if self._fault.cut is not None:
            left = self._fault.cut - self._sent
            if left <= len(data):
                self._connection.sendall(data[:left])
                raise Cut
        size = self._fault.piece or len(data) or 1
        for start in range(0, len(data), size):
            self._connection.sendall(data[start : start + size])
            if self._fault.pause:
                time.sleep(self._fault.pause)
        self._sent += len(data)


def head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} -", *itertools.starmap("{}: {}".format, headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
