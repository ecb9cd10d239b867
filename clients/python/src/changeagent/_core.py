"""Requests to several nodes with retries, as generators that do no I/O.

A generator here yields what is to be done (`Open`, `Send`, `Receive`, `Sleep`)
and is sent the result, or has the error raised inside; `client` does it with
sockets, `aio` with asyncio. So both do the same.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Callable, Generator, Protocol
from urllib.parse import urlsplit

from . import _http
from .errors import ApiError, BrokenAnswer, ChangeAgentError, Reset, other_history

#: Idle connections that are kept for each node, and for how many seconds: less
#: than the time after which a node closes them.
IDLE_MAX, IDLE_S_MAX = 8, 50.0
#: No node waits for longer than so many seconds, whatever it is asked for.
BLOCK_S_MAX = 300.0
#: The longest pause in seconds that a node can ask for.
ASKED_S_MAX = 60.0


class Connection(Protocol):
    """What a driver opens."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Node:
    """Where a node is."""

    host: str
    port: int
    tls: bool
    #: Path in front of all others.
    prefix: str
    #: The header `Host`.
    authority: str

    @classmethod
    def parse(cls, url: str) -> Node:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not of the form http://HOST:PORT: {url!r}")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"no query, fragment or user may stand in the address of a node: {url!r}")
        tls = parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        return cls(parts.hostname, port, tls, parts.path.rstrip("/"), parts.netloc)


@dataclass(frozen=True)
class Open:
    """Open a connection: its result is the connection."""

    node: Node


@dataclass(frozen=True)
class Send:
    connection: Any
    data: bytes
    timeout: float


@dataclass(frozen=True)
class Receive:
    """Its result are bytes, none at the end of the connection."""

    connection: Any
    timeout: float


@dataclass(frozen=True)
class Sleep:
    seconds: float


@dataclass(frozen=True)
class Item:
    """Something to hand over."""

    value: Any


Steps = Generator[Any, Any, Any]


@dataclass
class Options:
    """How a client behaves."""

    token: str | None = None
    #: The history that every answer must be of, if it is known.
    cluster: str | None = None
    #: Tries after the first one; what follows a list never gives up.
    retries: int = 10
    #: The first and the longest pause in seconds between tries.
    pause_min: float = 0.1
    pause_max: float = 5.0
    connect_timeout: float = 5.0
    #: How many seconds a node may be silent, besides what it was asked to wait.
    timeout: float = 30.0
    #: How many seconds a stream may be silent: nodes send something every 15.
    silence: float = 40.0
    #: More bytes are not taken in one answer, or in one line of a stream.
    answer_bytes_max: int = 64 << 20
    #: Told of each failure that is tried again, and the pause in seconds.
    on_retry: Callable[[Exception, float], None] | None = None


class Backoff:
    """The pauses between the tries of one thing."""

    def __init__(self, options: Options, nodes: int, retries: int | None):
        self._options = options
        self._nodes = nodes
        self._retries = retries
        self.reset()

    def reset(self) -> None:
        """Something succeeded."""
        self._failures = 0
        self._pause = self._options.pause_min
        self._asked: list[float] = []

    def after(self, error: Exception) -> float:
        """Seconds until the next try; raises the error where none is left.

        Another node is asked at once; when all have failed there is a pause,
        as long as the most impatient of them asked for.
        """
        self._failures += 1
        if self._retries is not None and self._failures > self._retries:
            raise error
        asked = getattr(error, "retry_after", None)
        self._asked.append(min(asked or 0.0, ASKED_S_MAX))
        pause = 0.0
        if self._failures % self._nodes == 0:
            spread = self._pause * random.uniform(0.5, 1.0)
            pause = min(self._asked) + spread
            self._pause = min(self._pause * 2, self._options.pause_max)
            self._asked = []
        if self._options.on_retry:
            self._options.on_retry(error, pause)
        return pause


@dataclass
class Request:
    """One request, to whichever node."""

    method: str
    target: str
    accept: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    #: Seconds that the node is asked to wait.
    wait: float = 0.0
    #: It may have happened, whatever is answered when it is sent again.
    in_doubt: bool = False


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise BrokenAnswer(f"an answer is not JSON: {error}") from error

    def member(self, name: str, kind: type) -> Any:
        """A member of the JSON object that the answer is."""
        found = self.json()
        value = found.get(name) if isinstance(found, dict) else None
        if type(value) is not kind:
            raise BrokenAnswer(f"an answer has no {name}")
        return value


class Core:
    """The nodes of one cluster and the connections to them."""

    def __init__(self, nodes: list[str], options: Options):
        if not nodes:
            raise ValueError("no node is named")
        self.options = options
        self.nodes = [Node.parse(node) for node in nodes]
        self._current = 0
        self._idle: dict[Node, list[tuple[float, Connection]]] = {}
        #: Whether nodes are told which history is meant: earlier ones refuse it.
        self.names_cluster = True

    @property
    def node(self) -> Node:
        """The node that is asked next."""
        return self.nodes[self._current % len(self.nodes)]

    def leave(self, node: Node) -> None:
        """The node failed: the next one is asked from now on."""
        if node is self.node:
            self._current = (self._current + 1) % len(self.nodes)

    def backoff(self, retries: int | None = None) -> Backoff:
        return Backoff(self.options, len(self.nodes), retries)

    def close(self) -> None:
        for kept in self._idle.values():
            while kept:
                kept.pop()[1].close()

    def _take_idle(self, node: Node) -> Connection | None:
        kept = self._idle.setdefault(node, [])
        while True:
            try:
                since, connection = kept.pop()
            except IndexError:
                return None
            if time.monotonic() - since < IDLE_S_MAX:
                return connection
            connection.close()

    def release(self, node: Node, connection: Connection, answer: _http.Answer) -> None:
        """Keeps a connection whose answer was read to its end, or closes it."""
        kept = self._idle.setdefault(node, [])
        if answer.done and answer.keep_alive and len(kept) < IDLE_MAX:
            kept.append((time.monotonic(), connection))
        else:
            connection.close()

    def exchange(self, node: Node, request: Request) -> Steps:
        """Sends a request and reads the head of the answer.

        Returns the connection and the answer; whoever calls it reads the body.
        """
        headers = {"Accept": request.accept, "Accept-Encoding": "identity", **request.headers}
        headers.setdefault("User-Agent", "changeagent-python/0.1.0")
        if self.options.token is not None:
            headers["Authorization"] = f"Bearer {self.options.token}"
        target = node.prefix + request.target
        data = _http.request(request.method, node.authority, target, headers, request.body)
        timeout = self.options.timeout + request.wait
        connection = self._take_idle(node)
        while True:
            reused = connection is not None
            answer = _http.Answer()
            try:
                connection = connection or (yield Open(node))
                yield Send(connection, data, self.options.timeout)
                while not answer.has_head:
                    answer.feed((yield Receive(connection, timeout)))
                return connection, answer
            except (OSError, BrokenAnswer) as error:
                if connection is not None:
                    connection.close()
                if not reused or answer.started:
                    raise BrokenAnswer(f"{node.authority}: {error or type(error).__name__}") from error
                # The node closed it while it was idle, most likely: a write may have happened yet.
                request.in_doubt = True
                connection = None
            except BaseException:
                if connection is not None:
                    connection.close()
                raise

    def body(self, node: Node, connection: Connection, answer: _http.Answer, wait: float) -> Steps:
        """Reads the whole body of an answer."""
        parts, size = [answer.take()], 0
        try:
            while not answer.done:
                answer.feed((yield Receive(connection, self.options.timeout + wait)))
                parts.append(answer.take())
                size += len(parts[-1])
                if size > self.options.answer_bytes_max:
                    raise ChangeAgentError("an answer is longer than answer_bytes_max")
        except OSError as error:
            raise BrokenAnswer(f"{node.authority}: {error or type(error).__name__}") from error
        finally:
            self.release(node, connection, answer)
        return b"".join(parts)

    def once(self, node: Node, request: Request) -> Steps:
        """Asks one node once: a `Reply`, or the error that it answered."""
        connection, answer = yield from self.exchange(node, request)
        body = yield from self.body(node, connection, answer, request.wait)
        reply = Reply(answer.status, answer.headers, body)
        refuse(reply)
        if self.options.cluster is not None:
            # A node that does not know which history is meant writes into its own.
            request.in_doubt = True
            check_cluster(reply.headers, self.options.cluster)
        return reply

    def call(self, request: Request, read: Callable[[Reply], Any]) -> Steps:
        """Asks the nodes until one answers; `read` makes the result of it."""
        backoff = self.backoff(self.options.retries)
        while True:
            node = self.node
            try:
                return read((yield from self.once(node, request)))
            except (BrokenAnswer, ApiError) as error:
                if isinstance(error, ApiError) and not error.may_pass:
                    raise
                self.leave(node)
                yield Sleep(backoff.after(error))

    def write(self, request: Request, key: str | None, read: Callable[[Reply], Any]) -> Steps:
        """The same for a write, which happens once however often it is tried."""
        key = key or str(uuid.uuid4())
        request.headers["Idempotency-Key"] = key
        if self.options.cluster is not None:
            request.headers["ChangeAgent-Cluster"] = self.options.cluster
        backoff = self.backoff(self.options.retries)
        while True:
            node = self.node
            try:
                return read((yield from self.once(node, request)))
            except (BrokenAnswer, ApiError) as error:
                request.in_doubt |= not isinstance(error, ApiError) or error.status in (500, 502, 504)
                error.outcome_unknown, error.idempotency_key = request.in_doubt, key
                if isinstance(error, ApiError) and not error.may_pass:
                    raise
                self.leave(node)
                yield Sleep(backoff.after(error))


def refuse(reply: Reply) -> None:
    """Raises what an answer says that is no success."""
    if 200 <= reply.status < 300:
        return
    problem: Any = None
    if "json" in reply.headers.get("content-type", ""):
        try:
            problem = json.loads(reply.body)
        except (ValueError, RecursionError):
            problem = None
    if not isinstance(problem, dict):
        problem = {"detail": reply.body[:200].decode("utf-8", "replace")}
    after = reply.headers.get("retry-after", "")
    seconds = float(after) if after.isascii() and after.isdigit() else None
    of_history = problem.get("code") == "other-history"
    raise (Reset if of_history else ApiError)(reply.status, problem, seconds)


def check_cluster(headers: dict[str, str], wanted: str | None) -> str:
    """The history that an answer is of, which must be the one that is wanted."""
    found = headers.get("changeagent-cluster")
    if not found:
        raise BrokenAnswer("the answer is not of a ChangeAgent node: it names no history")
    if wanted is not None and found != wanted:
        raise other_history(wanted, found)
    return found
