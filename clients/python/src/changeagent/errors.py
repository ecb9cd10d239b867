"""What a call can fail of."""

from __future__ import annotations

from typing import Any


class ChangeAgentError(Exception):
    """The base of all errors of this package."""

    #: Of a write: it may have happened all the same. Repeat it, with the same
    #: arguments and with `idempotency_key`, to know.
    outcome_unknown = False
    #: Of a write: the key that it bore.
    idempotency_key: str | None = None


class BrokenAnswer(ChangeAgentError):
    """There was no answer, or only a part of one, or one that no node gives.

    A write that ended so may have happened: repeat it with its idempotency key.
    """


class Closed(ChangeAgentError):
    """The client was closed."""


class Conflict(ChangeAgentError):
    """Somebody else moved the position of this mirror meanwhile."""


class ApiError(ChangeAgentError):
    """A node refused a request: see `code`, which is stable, and `detail`."""

    def __init__(self, status: int, problem: dict[str, Any], retry_after: float | None = None):
        self.status = status
        self.problem = problem
        self.code = str(problem.get("code", ""))
        self.detail = str(problem.get("detail", ""))
        #: Seconds that the node asks to wait before another try.
        self.retry_after = retry_after
        super().__init__(f"{status} {self.code}: {self.detail}")

    @property
    def may_pass(self) -> bool:
        """Whether asking again may help."""
        # What bears no code is not of a node, but of something in between.
        return not self.code or self.status in (408, 429, 500, 502, 503, 504)


class Reset(ApiError):
    """A list cannot be followed from this position: start anew.

    `code` is `purged` (`first` is the oldest id held), `other-history` (the ids
    are of another history: `cluster` is the one found) or `not-found` (the list
    was deleted).
    """

    @property
    def first(self) -> int | None:
        first = self.problem.get("first")
        return first if isinstance(first, int) else None

    @property
    def cluster(self) -> str | None:
        cluster = self.problem.get("cluster")
        return cluster if isinstance(cluster, str) else None


def other_history(wanted: str, found: str) -> Reset:
    """The answer of a node was of the history `found`."""
    detail = f"the node serves the history {found}, not {wanted}"
    return Reset(409, {"code": "other-history", "detail": detail, "cluster": found})
