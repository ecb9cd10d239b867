"""Following a list, and reading a state: what to do, without I/O."""

from __future__ import annotations

import time
from dataclasses import dataclass

from . import _paths
from ._core import BLOCK_S_MAX, Connection, Core, Item, Node, Receive, Reply, Request, Sleep, Steps
from ._core import check_cluster, refuse
from ._http import Answer
from .errors import ApiError, BrokenAnswer, ChangeAgentError, Reset
from .model import Change, Page, Position, whole_object

NDJSON = "application/x-ndjson"
#: A node that answers that nothing is new without having waited is asked again
#: after so many seconds.
UNASKED_S = 0.2


@dataclass(frozen=True)
class Source:
    """Which list to follow, and how."""

    tenant: str | None = None
    collection: str | None = None
    tags: tuple[str, ...] = ()
    #: `wait` asks for page after page, `stream` keeps one answer open.
    mode: str = "wait"
    #: Changes in one page.
    limit: int = 1000
    #: Seconds that a node is asked to wait for something new.
    block: float = 60.0

    def __post_init__(self) -> None:
        if self.mode not in ("wait", "stream"):
            raise ValueError(f"mode is wait or stream, not {self.mode!r}")

    @property
    def path(self) -> str:
        return _paths.of_list(self.tenant, self.collection) + "/changes"

    @property
    def is_dense(self) -> bool:
        """Whether it has every id."""
        return self.tenant is None and self.collection is None and not self.tags


class Follower:
    """Pages of a list for ever, each change in exactly one of them.

    The first answer gives a page even if it is empty, so that its position is
    known; later ones only where the position moves.
    """

    def __init__(self, core: Core, source: Source, since: int | str | Position):
        self._core = core
        self._source = source
        self._cluster = core.options.cluster
        self._is_new = since == "now"
        if isinstance(since, Position):
            self._cluster, self._last = since.cluster, since.id
        elif since == "now":
            self._last = 0
        elif isinstance(since, int) and since >= 0:
            self._last = since
        else:
            raise ValueError(f"since is an id, a Position or 'now', not {since!r}")
        self._backoff = core.backoff()
        self._missing = 0
        self._has_answered = False

    def run(self) -> Steps:
        while True:
            node = self._core.node
            try:
                yield from self._read(node)
            except (BrokenAnswer, ApiError) as error:
                if self._is_refused_parameter(error):
                    continue
                self._check(error)
                self._core.leave(node)
                yield Sleep(self._backoff.after(error))

    def _read(self, node: Node) -> Steps:
        asked, before = time.monotonic(), self._last
        if self._is_new:
            yield from self._start_now(node)
        elif self._source.mode == "wait":
            reply = yield from self._core.once(node, self._request("application/json"))
            page = Page.parse(reply.body, self._enter(reply.headers))
            yield from self._hand_over(page.changes, page.position.id, page.at_end)
        else:
            yield from self._stream(node)
        if self._last == before and time.monotonic() - asked < UNASKED_S:
            yield Sleep(UNASKED_S)

    def _is_refused_parameter(self, error: Exception) -> bool:
        """An earlier node does not know `cluster`; its answers are checked all the same."""
        if not self._core.names_cluster or not isinstance(error, ApiError):
            return False
        if error.code != "invalid-parameter" or error.problem.get("parameter") != "cluster":
            return False
        self._core.names_cluster = False
        return True

    def _check(self, error: BrokenAnswer | ApiError) -> None:
        """Raises what asking again cannot help."""
        if not isinstance(error, ApiError) or error.may_pass:
            return
        if error.code == "not-found":
            # A node that lies behind may not know it yet.
            self._missing += 1
            if self._missing < len(self._core.nodes):
                return
        if error.code in ("purged", "other-history", "not-found"):
            raise Reset(error.status, error.problem) from error
        raise error

    def _request(self, accept: str) -> Request:
        stream = accept == NDJSON
        pairs: list[tuple[str, object]] = [("since", "now" if self._is_new else self._last)]
        if not stream:
            pairs.append(("limit", 1 if self._is_new else self._source.limit))
        wait = 0.0 if self._is_new else min(self._source.block, BLOCK_S_MAX)
        if wait or stream:
            pairs.append(("block", _paths.decimal(wait)))
        if stream:
            pairs.append(("cursors", "true"))
        if self._cluster is not None and self._core.names_cluster:
            pairs.append(("cluster", self._cluster))
        pairs += [("tag", tag) for tag in self._source.tags]
        target = self._source.path + _paths.query(pairs)
        return Request("GET", target, accept, wait=0.0 if stream else wait)

    def _enter(self, headers: dict[str, str]) -> str:
        """Checks the history before anything of an answer is used."""
        self._cluster = check_cluster(headers, self._cluster)
        return self._cluster

    def _start_now(self, node: Node) -> Steps:
        reply = yield from self._core.once(node, self._request("application/json"))
        page = Page.parse(reply.body, self._enter(reply.headers))
        self._is_new, self._last = False, page.position.id
        yield from self._progress((), True)

    def _hand_over(self, changes: tuple[Change, ...], last: int, at_end: bool) -> Steps:
        """Hands over those that were not yet, and moves on to `last`."""
        fresh: list[Change] = []
        reached = self._last
        for change in changes:
            if change.id <= self._last or change.id == reached:
                continue
            if change.id < reached:
                raise BrokenAnswer("changes are out of order")
            if self._source.is_dense and reached > 0 and change.id != reached + 1:
                raise BrokenAnswer(f"the changes after {reached} are missing")
            fresh.append(change)
            reached = change.id
        if last > reached and self._source.is_dense and reached > 0:
            raise BrokenAnswer(f"the changes after {reached} are missing")
        moved = max(reached, last) > self._last
        self._last = max(reached, last)
        yield from self._progress(tuple(fresh), at_end, moved)

    def _progress(self, changes: tuple[Change, ...], at_end: bool, moved: bool = True) -> Steps:
        self._backoff.reset()
        self._missing = 0
        if (moved or not self._has_answered) and self._cluster is not None:
            self._has_answered = True
            yield Item(Page(changes, Position(self._cluster, self._last), at_end))

    def _stream(self, node: Node) -> Steps:
        connection, answer = yield from self._core.exchange(node, self._request(NDJSON))
        if answer.status != 200:
            body = yield from self._core.body(node, connection, answer, 0.0)
            refuse(Reply(answer.status, answer.headers, body))
            raise BrokenAnswer(f"an answer to a read has the status {answer.status}")
        lines = Lines(self._core, node, connection, answer)
        try:
            cluster = self._enter(answer.headers)
            while (batch := (yield from lines.next())) is not None:
                changes: list[Change] = []
                last, at_end = self._last, False
                for line in batch:
                    cursor = cursor_of(line)
                    at_end = cursor is not None
                    if cursor is None:
                        changes.append(Change.parse(line, cluster))
                        last = changes[-1].id
                    else:
                        last = cursor
                yield from self._hand_over(tuple(changes), max(last, self._last), at_end)
        finally:
            lines.close()


def cursor_of(line: str) -> int | None:
    """The id of a line `{"last":N}`; None of a change."""
    if '"_id"' in line[:8]:
        return None
    found, _ = whole_object(line)
    last = found.get("last")
    return last if "_id" not in found and type(last) is int else None


class Lines:
    """The complete lines of an answer, as they come."""

    def __init__(self, core: Core, node: Node, connection: Connection, answer: Answer):
        self._core = core
        self._node = node
        self._connection = connection
        self._answer = answer
        self._rest = bytearray()

    def next(self) -> Steps:
        """The next lines without empty ones, perhaps none; None after the last."""
        part = self._answer.take()
        if not part:
            if self._answer.done:
                if self._rest:
                    raise BrokenAnswer("a stream ended in the middle of a line")
                return None
            try:
                self._answer.feed((yield Receive(self._connection, self._core.options.silence)))
            except OSError as error:
                raise BrokenAnswer(f"a stream broke off: {error or type(error).__name__}") from error
            part = self._answer.take()
        self._rest += part
        if len(self._rest) > self._core.options.answer_bytes_max:
            raise ChangeAgentError("a line is longer than answer_bytes_max")
        if b"\n" not in part:
            return []
        *lines, self._rest = self._rest.split(b"\n")
        try:
            return [line.decode("utf-8") for line in lines if line.strip()]
        except UnicodeDecodeError as error:
            raise BrokenAnswer(f"a line is not UTF-8: {error}") from error

    def close(self) -> None:
        self._core.release(self._node, self._connection, self._answer)
