"""The client for programs that wait for each answer."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import closing
from typing import Any, Generator, Iterable, Mapping

from . import _paths
from ._api import Api, change_members
from ._core import Core, Item, Node, Open, Options, Receive, Send, Sleep, Steps
from ._follow import Follower, Source
from ._state import StateReader
from .errors import Closed
from .model import Appended, Change, Page, Position

RECEIVE_BYTES = 1 << 16


class Client:
    """The nodes of one cluster. May be used by several threads at once.

    `nodes` are addresses such as `http://127.0.0.1:9000`: one that fails is
    replaced by the next. Every call but `follow`, `pages` and `state` gives an
    answer within `retries` tries or raises what the last one failed of. Writes
    bear an idempotency key, so they happen once however often they are tried.

    A `tenant` is a UUID or a name; a `collection` is a UUID, or a name if its
    tenant stands beside it.
    """

    def __init__(self, *nodes: str, tls: ssl.SSLContext | None = None, **options: Any):
        self._core = Core([*nodes], Options(**options))
        self._api = Api(self._core)
        self._tls = tls
        self._closed = threading.Event()
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all calls, those of other threads too: what is followed just ends."""
        self._closed.set()
        for connection in [*self._open]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._core.close()

    # Writing

    def append(
        self, data: Any, *, tenant: str | None = None, collection: str | None = None,
        key: str | None = None, tags: Iterable[str] = (), ttl: int | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """Appends a change: its id. Here a collection is named by its UUID."""
        members = change_members(
            data, tenant=tenant, collection=collection, key=key, tags=tags, ttl=ttl
        )
        return self._run(self._api.append(members, idempotency_key))

    def append_batch(
        self, changes: Iterable[Mapping[str, Any]], *, tenant: str | None = None,
        idempotency_key: str | None = None,
    ) -> Appended:
        """Appends objects such as `{"data": 1, "tags": ["a"]}`: all of them, or none."""
        return self._run(self._api.append_batch(changes, tenant, idempotency_key))

    def put(
        self, key: str, data: Any, *, collection: str, tenant: str | None = None,
        tags: Iterable[str] = (), ttl: int | None = None, if_match: int | None = None,
        if_absent: bool = False, idempotency_key: str | None = None,
    ) -> int:
        """Writes a key: the id of the change, which is its version.

        With `if_match` only that version is replaced, with `if_absent` none; else
        it raises `ApiError` with the code `precondition-failed`.
        """
        path = _paths.of_key(tenant, collection, key)
        members = change_members(data, tags=tags, ttl=ttl)
        return self._run(self._api.put(path, members, if_match, if_absent, idempotency_key))

    def delete(
        self, key: str, *, collection: str, tenant: str | None = None,
        if_match: int | None = None, idempotency_key: str | None = None,
    ) -> int | None:
        """Deletes a key: the id of the change that says so, None where there was none."""
        path = _paths.of_key(tenant, collection, key)
        return self._run(self._api.delete(path, if_match, idempotency_key))

    def create_tenant(self, name: str, *, exist_ok: bool = False) -> str:
        """Creates a tenant: its UUID. With `exist_ok` the one of that name will do."""
        return self._run(self._api.create("/tenants", name, "tenant", exist_ok))

    def create_collection(self, tenant: str, name: str, *, exist_ok: bool = False) -> str:
        """Creates a collection: its UUID. With `exist_ok` the one of that name will do."""
        path = _paths.of_list(tenant, None) + "/collections"
        return self._run(self._api.create(path, name, "collection", exist_ok))

    # Reading

    def read(
        self, *, tenant: str | None = None, collection: str | None = None,
        tags: Iterable[str] = (), since: int | str = 0, limit: int = 100, block: float = 0,
        min_id: int | None = None, strong: bool = False,
    ) -> Page:
        """One page of a list. `min_id` and `strong` ask for a state that is new enough."""
        path = _paths.of_list(tenant, collection)
        return self._run(self._api.read(path, tags, since, limit, block, min_id, strong))

    def change(self, id: int) -> Change | None:
        """One change, None where there is none."""
        return self._run(self._api.get(f"/changes/{int(id)}"))

    def get(
        self, key: str, *, collection: str, tenant: str | None = None,
        min_id: int | None = None, strong: bool = False,
    ) -> Change | None:
        """The current version of a key, None where it is absent."""
        return self._run(self._api.get(_paths.of_key(tenant, collection, key), min_id, strong))

    def keys(
        self, *, collection: str, tenant: str | None = None, prefix: str | None = None,
        limit: int = 1000,
    ) -> Generator[Change, None, None]:
        """The current versions of all keys, in the order of their bytes."""
        path, after, at_end = _paths.of_list(tenant, collection), None, False
        while not at_end:
            some, at_end = self._run(self._api.keys(path, prefix, after, limit))
            yield from some
            after = some[-1].key if some else None
            at_end = at_end or not some

    # Following

    def pages(
        self, *, tenant: str | None = None, collection: str | None = None,
        tags: Iterable[str] = (), since: int | str | Position = 0, mode: str = "wait",
        limit: int = 1000, block: float = 60.0,
    ) -> Generator[Page, None, None]:
        """Follows a list for ever, page by page.

        Store the position of a page together with what you make of it, and pass it
        as `since` when you start again: then each change counts exactly once.
        Raises `Reset` where the list cannot be followed from there.
        """
        source = Source(tenant, collection, tuple(tags), mode, limit, block)
        return self._iterate(Follower(self._core, source, since).run())

    def follow(self, **arguments: Any) -> Generator[Change, None, None]:
        """The same, change by change; each has its position."""
        with closing(self.pages(**arguments)) as pages:
            for page in pages:
                yield from page.changes

    def state(
        self, *, tenant: str | None = None, collection: str | None = None,
        resume: tuple[Position, str, str] | None = None,
    ) -> Generator[Page, None, None]:
        """The current changes of all live keys, in pages of one position: the first
        may be empty, the last has `at_end`.

        Then follow from that position, and take a change only if its id is above
        the one that you hold of its key.
        """
        return self._iterate(StateReader(self._core, tenant, collection, resume).run())

    # Input and output

    def _run(self, steps: Steps) -> Any:
        result: Any = None
        error: BaseException | None = None
        try:
            while True:
                step = steps.throw(error) if error else steps.send(result)
                result, error = None, None
                try:
                    result = self._perform(step)
                except OSError as failure:
                    error = failure
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    def _iterate(self, steps: Steps) -> Generator[Any, None, None]:
        result: Any = None
        error: BaseException | None = None
        try:
            while True:
                step = steps.throw(error) if error else steps.send(result)
                result, error = None, None
                if isinstance(step, Item):
                    yield step.value
                    continue
                try:
                    result = self._perform(step)
                except OSError as failure:
                    error = failure
        except (StopIteration, Closed):
            return
        finally:
            steps.close()

    def _perform(self, step: Any) -> Any:
        if self._closed.is_set():
            raise Closed("the client was closed")
        if isinstance(step, Open):
            return self._connect(step.node)
        if isinstance(step, Send):
            step.connection.send(step.data, step.timeout)
        elif isinstance(step, Receive):
            return step.connection.receive(step.timeout)
        elif isinstance(step, Sleep):
            if self._closed.wait(step.seconds):
                raise Closed("the client was closed")
        return None

    def _connect(self, node: Node) -> _Socket:
        timeout = self._core.options.connect_timeout
        opened = socket.create_connection((node.host, node.port), timeout)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if node.tls:
                context = self._tls or ssl.create_default_context()
                opened = context.wrap_socket(opened, server_hostname=node.host)
        except BaseException:
            opened.close()
            raise
        connection = _Socket(opened, self._open)
        self._open.add(opened)
        if self._closed.is_set():
            # Whoever closed the client has not seen this one.
            connection.close()
            raise Closed("the client was closed")
        return connection


class _Socket:
    """A connection, which is known to its client as long as it is open."""

    def __init__(self, opened: socket.socket, known: set[socket.socket]):
        self._opened = opened
        self._known = known

    def send(self, data: bytes, timeout: float) -> None:
        self._opened.settimeout(timeout)
        self._opened.sendall(data)

    def receive(self, timeout: float) -> bytes:
        self._opened.settimeout(timeout)
        return self._opened.recv(RECEIVE_BYTES)

    def close(self) -> None:
        self._known.discard(self._opened)
        self._opened.close()
