"""The client for asyncio."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import aclosing
from typing import Any, AsyncGenerator, Coroutine, Iterable, Mapping

from . import _paths
from ._api import Api, change_members
from ._core import Core, Item, Node, Open, Options, Receive, Send, Sleep, Steps
from ._follow import Follower, Source
from ._state import StateReader
from .model import Appended, Change, Page, Position

RECEIVE_BYTES = 1 << 16


class AsyncClient:
    """The nodes of one cluster, for one event loop: what `Client` is for threads.

    A call is given up by cancelling its task; an iterator also by `aclose`.
    """

    def __init__(self, *nodes: str, tls: ssl.SSLContext | None = None, **options: Any):
        self._core = Core([*nodes], Options(**options))
        self._api = Api(self._core)
        self._tls = tls

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes idle connections."""
        self._core.close()

    # Writing

    async def append(
        self, data: Any, *, tenant: str | None = None, collection: str | None = None,
        key: str | None = None, tags: Iterable[str] = (), ttl: int | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """Appends a change: its id. Here a collection is named by its UUID."""
        members = change_members(
            data, tenant=tenant, collection=collection, key=key, tags=tags, ttl=ttl
        )
        return await self._run(self._api.append(members, idempotency_key))

    async def append_batch(
        self, changes: Iterable[Mapping[str, Any]], *, tenant: str | None = None,
        idempotency_key: str | None = None,
    ) -> Appended:
        """Appends objects such as `{"data": 1, "tags": ["a"]}`: all of them, or none."""
        return await self._run(self._api.append_batch(changes, tenant, idempotency_key))

    async def put(
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
        return await self._run(self._api.put(path, members, if_match, if_absent, idempotency_key))

    async def delete(
        self, key: str, *, collection: str, tenant: str | None = None,
        if_match: int | None = None, idempotency_key: str | None = None,
    ) -> int | None:
        """Deletes a key: the id of the change that says so, None where there was none."""
        path = _paths.of_key(tenant, collection, key)
        return await self._run(self._api.delete(path, if_match, idempotency_key))

    async def create_tenant(self, name: str, *, exist_ok: bool = False) -> str:
        """Creates a tenant: its UUID. With `exist_ok` the one of that name will do."""
        return await self._run(self._api.create("/tenants", name, "tenant", exist_ok))

    async def create_collection(self, tenant: str, name: str, *, exist_ok: bool = False) -> str:
        """Creates a collection: its UUID. With `exist_ok` the one of that name will do."""
        path = _paths.of_list(tenant, None) + "/collections"
        return await self._run(self._api.create(path, name, "collection", exist_ok))

    # Reading

    async def read(
        self, *, tenant: str | None = None, collection: str | None = None,
        tags: Iterable[str] = (), since: int | str = 0, limit: int = 100, block: float = 0,
        min_id: int | None = None, strong: bool = False,
    ) -> Page:
        """One page of a list. `min_id` and `strong` ask for a state that is new enough."""
        path = _paths.of_list(tenant, collection)
        return await self._run(self._api.read(path, tags, since, limit, block, min_id, strong))

    async def change(self, id: int) -> Change | None:
        """One change, None where there is none."""
        return await self._run(self._api.get(f"/changes/{int(id)}"))

    async def get(
        self, key: str, *, collection: str, tenant: str | None = None,
        min_id: int | None = None, strong: bool = False,
    ) -> Change | None:
        """The current version of a key, None where it is absent."""
        return await self._run(self._api.get(_paths.of_key(tenant, collection, key), min_id, strong))

    async def keys(
        self, *, collection: str, tenant: str | None = None, prefix: str | None = None,
        limit: int = 1000,
    ) -> AsyncGenerator[Change, None]:
        """The current versions of all keys, in the order of their bytes."""
        path, after, at_end = _paths.of_list(tenant, collection), None, False
        while not at_end:
            some, at_end = await self._run(self._api.keys(path, prefix, after, limit))
            for change in some:
                yield change
            after = some[-1].key if some else None
            at_end = at_end or not some

    # Following

    def pages(
        self, *, tenant: str | None = None, collection: str | None = None,
        tags: Iterable[str] = (), since: int | str | Position = 0, mode: str = "wait",
        limit: int = 1000, block: float = 60.0,
    ) -> AsyncGenerator[Page, None]:
        """Follows a list for ever, page by page.

        Store the position of a page together with what you make of it, and pass it
        as `since` when you start again: then each change counts exactly once.
        Raises `Reset` where the list cannot be followed from there.
        """
        source = Source(tenant, collection, tuple(tags), mode, limit, block)
        return self._iterate(Follower(self._core, source, since).run())

    async def follow(self, **arguments: Any) -> AsyncGenerator[Change, None]:
        """The same, change by change; each has its position."""
        async with aclosing(self.pages(**arguments)) as pages:
            async for page in pages:
                for change in page.changes:
                    yield change

    def state(
        self, *, tenant: str | None = None, collection: str | None = None,
        resume: tuple[Position, str, str] | None = None,
    ) -> AsyncGenerator[Page, None]:
        """The current changes of all live keys, in pages of one position: the first
        may be empty, the last has `at_end`.

        Then follow from that position, and take a change only if its id is above
        the one that you hold of its key.
        """
        return self._iterate(StateReader(self._core, tenant, collection, resume).run())

    # Input and output

    async def _run(self, steps: Steps) -> Any:
        result: Any = None
        error: BaseException | None = None
        try:
            while True:
                step = steps.throw(error) if error else steps.send(result)
                result, error = None, None
                try:
                    result = await self._perform(step)
                except (OSError, asyncio.TimeoutError) as failure:
                    error = _os_error(failure)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    async def _iterate(self, steps: Steps) -> AsyncGenerator[Any, None]:
        result: Any = None
        error: BaseException | None = None
        try:
            while True:
                try:
                    step = steps.throw(error) if error else steps.send(result)
                except StopIteration:
                    return
                result, error = None, None
                if isinstance(step, Item):
                    yield step.value
                    continue
                try:
                    result = await self._perform(step)
                except (OSError, asyncio.TimeoutError) as failure:
                    error = _os_error(failure)
        finally:
            steps.close()

    async def _perform(self, step: Any) -> Any:
        if isinstance(step, Open):
            return await _within(self._connect(step.node), self._core.options.connect_timeout)
        if isinstance(step, Send):
            await _within(step.connection.send(step.data), step.timeout)
        elif isinstance(step, Receive):
            return await _within(step.connection.receive(), step.timeout)
        elif isinstance(step, Sleep):
            await asyncio.sleep(step.seconds)
        return None

    async def _connect(self, node: Node) -> _Streams:
        context = (self._tls or ssl.create_default_context()) if node.tls else None
        reader, writer = await asyncio.open_connection(node.host, node.port, ssl=context)
        opened = writer.get_extra_info("socket")
        if opened is not None:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _Streams(reader, writer)


async def _within(work: Coroutine[Any, Any, Any], seconds: float) -> Any:
    """What `asyncio.wait_for` is for. Before Python 3.12 that goes on as if nothing had
    happened where the work is done just when the caller is cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        if not task.cancel() and task.exception() is None and isinstance(task.result(), _Streams):
            # Nobody else knows of the connection.
            task.result().close()
        raise
    if not task.done():
        task.cancel()
        raise asyncio.TimeoutError
    return task.result()


def _os_error(failure: BaseException) -> OSError:
    """In Python 3.10 asyncio's TimeoutError is no OSError yet."""
    return failure if isinstance(failure, OSError) else TimeoutError("timed out")


class _Streams:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        return await self._reader.read(RECEIVE_BYTES)

    def close(self) -> None:
        # At once: what is still to be sent is of no use to anybody.
        self._writer.transport.abort()
