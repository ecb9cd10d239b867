"""Reading the current state of a collection or a tenant: what to do, without I/O."""

from __future__ import annotations

from . import _paths
from ._core import Core, Item, Node, Reply, Request, Sleep, Steps, check_cluster, refuse
from ._follow import NDJSON, Lines
from .errors import ApiError, BrokenAnswer, Reset
from .model import Change, Page, Position, whole_object


class StateReader:
    """The current changes of all live keys, in pages that bear one position.

    Once all pages are taken, follow from that position, and take a change only if
    its id is above the one held of its key. `resume` is the position and the last
    collection and key of a reading that was broken off.
    """

    def __init__(
        self,
        core: Core,
        tenant: str | None,
        collection: str | None,
        resume: tuple[Position, str, str] | None = None,
    ):
        if tenant is None and collection is None:
            raise ValueError("the state is that of a tenant or of a collection")
        self._core = core
        self._path = _paths.of_list(tenant, collection) + "/state"
        self._position: Position | None = None
        self._cluster = core.options.cluster
        self._after: str | None = None
        if resume is not None:
            self._position = resume[0]
            self._cluster = self._position.cluster
            self._after = f"{resume[1]}/{resume[2]}"
        self._ended = False
        self._missing = 0
        self._backoff = core.backoff(core.options.retries)

    def run(self) -> Steps:
        while not self._ended:
            node = self._core.node
            try:
                yield from self._read(node)
            except (BrokenAnswer, ApiError) as error:
                self._check(error)
                self._core.leave(node)
                yield Sleep(self._backoff.after(error))

    def _check(self, error: BrokenAnswer | ApiError) -> None:
        """Raises what asking again cannot help."""
        if not isinstance(error, ApiError) or error.may_pass:
            return
        if error.code == "not-found":
            # A node that lies behind may not know it yet.
            self._missing += 1
            if self._missing < len(self._core.nodes):
                return
        if error.code in ("other-history", "not-found"):
            raise Reset(error.status, error.problem) from error
        raise error

    def _read(self, node: Node) -> Steps:
        # A node that lies behind the first one would leave out what is neither in its
        # state nor after the position.
        at_least = None if self._position is None else self._position.id
        pairs = [("after", self._after), ("min_id", at_least), ("cluster", self._cluster)]
        target = self._path + _paths.query(pairs)
        request = Request("GET", target, NDJSON)
        connection, answer = yield from self._core.exchange(node, request)
        if answer.status != 200:
            body = yield from self._core.body(node, connection, answer, 0.0)
            refuse(Reply(answer.status, answer.headers, body))
            raise BrokenAnswer(f"an answer to a read has the status {answer.status}")
        lines = Lines(self._core, node, connection, answer)
        try:
            self._cluster = check_cluster(answer.headers, self._cluster)
            is_first = True
            while (batch := (yield from lines.next())) is not None:
                changes: list[Change] = []
                for line in batch:
                    if is_first:
                        self._begin(line, self._cluster)
                        is_first = False
                    elif line.startswith('{"_id"'):
                        changes.append(Change.parse(line, self._cluster))
                    else:
                        self._end(line)
                if changes or self._ended:
                    yield from self._hand_over(changes)
                if self._ended:
                    return
            raise BrokenAnswer("a state ended before its end")
        finally:
            lines.close()

    def _begin(self, line: str, cluster: str) -> None:
        """The position stays that of the first reading.

        Invariant: no later reading is of an older state.
        """
        since = whole_object(line)[0].get("since")
        if type(since) is not int:
            raise BrokenAnswer("a state does not begin with its position")
        if self._position is not None and since < self._position.id:
            raise BrokenAnswer("the rest of a state is older than its beginning")
        self._position = self._position or Position(cluster, since)

    def _end(self, line: str) -> None:
        if whole_object(line)[0].get("end") is not True:
            raise BrokenAnswer("a line of a state is neither a change nor its end")
        self._ended = True

    def _hand_over(self, changes: list[Change]) -> Steps:
        if changes:
            last = changes[-1]
            self._after = f"{last.collection}/{last.key}"
            self._backoff.reset()
            self._missing = 0
        assert self._position is not None
        yield Item(Page(tuple(changes), self._position, self._ended))
