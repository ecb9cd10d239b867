"""A local copy of a list, or of the keys of a list, in SQLite."""

from __future__ import annotations

import os
import sqlite3
from contextlib import aclosing, closing, contextmanager
from typing import Any, AsyncGenerator, Callable, Generator, Iterable, Iterator

from . import _paths
from ._tables import Keep, Tables
from .aio import AsyncClient
from .client import Client
from .errors import ChangeAgentError, Conflict, Reset
from .model import Page, Position

#: Seconds to wait for another writer of the database.
BUSY_S = 30.0


class Mirror:
    """Follows a list into a table: the rows of each page and the position after them
    are written in one transaction, so however it ends it goes on exactly there.

    `database` is the path of a file, or an open connection. `keep` says what is
    kept in the table `table`: all `changes`, the current version of the live
    `keys`, or `nothing` but the position. `on_page` is called with the connection and the
    page inside that transaction, for tables of your own; it must not commit.

    Where the list cannot be followed any more (`Reset`), `run` raises; with
    `rebuild` it empties the table, calls `on_reset` with the connection and the
    reset in that transaction, and starts anew, if the list is still there.
    """

    def __init__(
        self, database: str | os.PathLike[str] | sqlite3.Connection, *, keep: Keep = "changes",
        table: str | None = None, tenant: str | None = None, collection: str | None = None,
        tags: Iterable[str] = (), since: int | str | Position = 0, mode: str = "wait",
        limit: int = 1000, block: float = 60.0, rebuild: bool = False,
        on_page: Callable[[sqlite3.Connection, Page], Any] | None = None,
        on_reset: Callable[[sqlite3.Connection, Reset], Any] | None = None,
    ):
        if isinstance(database, sqlite3.Connection):
            self.db = database
        else:
            self.db = sqlite3.connect(database, timeout=BUSY_S, isolation_level=None)
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = NORMAL")
        self._of = {"tenant": tenant, "collection": collection}
        self._tags = tuple(tags)
        if keep == "keys" and (self._tags or (tenant is None and collection is None)):
            raise ValueError("the keys are those of a tenant or of a collection, without tags")
        path = _paths.of_list(tenant, collection) + "/changes"
        path += _paths.query(("tag", tag) for tag in self._tags)
        self._tables = Tables(self.db, table or ("changes" if keep == "nothing" else keep), keep, path)
        self._keep, self._since = keep, since
        self._how = {"mode": mode, "limit": limit, "block": block}
        self._rebuild, self._on_page, self._on_reset = rebuild, on_page, on_reset
        with self._transaction():
            self._tables.create()
            self._at = self._tables.read()

    @property
    def position(self) -> Position | None:
        """How far this copy is; None before its first page."""
        return self._at[0]

    def run(self, client: Client) -> None:
        """Follows the list until the client is closed."""
        with closing(self.pages(client)) as pages:
            for _ in pages:
                pass

    def pages(self, client: Client) -> Generator[Page, None, None]:
        """The same; gives each page once it is in the database."""
        while True:
            try:
                if self._is_loading:
                    with closing(client.state(**self._of, resume=self._resume)) as pages:
                        for page in pages:
                            self._load(page)
                            yield page
                    if self._is_loading:
                        return
                with closing(client.pages(**self._follow)) as pages:
                    for page in pages:
                        self._take(page)
                        yield page
                return
            except Reset as reset:
                self._start_anew(reset)

    async def run_async(self, client: AsyncClient) -> None:
        """Follows the list until the task is cancelled."""
        async with aclosing(self.pages_async(client)) as pages:
            async for _ in pages:
                pass

    async def pages_async(self, client: AsyncClient) -> AsyncGenerator[Page, None]:
        """The same; gives each page once it is in the database."""
        while True:
            try:
                if self._is_loading:
                    async with aclosing(client.state(**self._of, resume=self._resume)) as pages:
                        async for page in pages:
                            self._load(page)
                            yield page
                async with aclosing(client.pages(**self._follow)) as pages:
                    async for page in pages:
                        self._take(page)
                        yield page
            except Reset as reset:
                self._start_anew(reset)

    # What a step needs

    @property
    def _is_loading(self) -> bool:
        return self._keep == "keys" and (self._at[0] is None or self._at[1] is not None)

    @property
    def _resume(self) -> tuple[Position, str, str] | None:
        position, loading = self._at
        if position is None or not loading:
            return None
        collection, _, key = loading.partition("/")
        return position, collection, key

    @property
    def _follow(self) -> dict[str, Any]:
        since = self._since if self.position is None else self.position
        return {**self._of, "tags": self._tags, "since": since, **self._how}

    # Transactions

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self.db.in_transaction:
            raise ChangeAgentError("the connection of a mirror is in a transaction")
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
            if not self.db.in_transaction:
                raise ChangeAgentError("a hook of a mirror must not commit")
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def _load(self, page: Page) -> None:
        loading = self._at[1] or ""
        if page.changes:
            loading = f"{page.changes[-1].collection}/{page.changes[-1].key}"
        self._write(page, None if page.at_end else loading)

    def _take(self, page: Page) -> None:
        self._write(page, None)

    def _write(self, page: Page, loading: str | None) -> None:
        with self._transaction():
            if self._tables.read() != self._at:
                raise Conflict("another program writes to this copy")
            for change in page.changes:
                self._tables.apply(change)
            if self._on_page:
                self._on_page(self.db, page)
                if not self.db.in_transaction:
                    raise ChangeAgentError("a hook of a mirror must not commit")
            self._tables.move(page.position, loading)
        self._at = page.position, loading

    def _start_anew(self, reset: Reset) -> None:
        if not self._rebuild or reset.code == "not-found":
            raise reset
        with self._transaction():
            if self._tables.read() != self._at:
                raise Conflict("another program writes to this copy")
            self._tables.clear()
            if self._on_reset:
                self._on_reset(self.db, reset)
        self._at = None, None
