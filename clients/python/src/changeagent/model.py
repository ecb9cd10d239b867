"""Changes, pages of them, and positions in a history."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Callable

from .errors import BrokenAnswer

_DECODER = json.JSONDecoder()
_BETWEEN = re.compile(r"[ \t\n\r]*")
Reader = Callable[[str, int], tuple[Any, int]]


def _skip(text: str, at: int) -> int:
    """Behind white space."""
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _object(
    text: str, at: int, readers: dict[str, Reader] | None = None
) -> tuple[dict[str, Any], dict[str, str], int]:
    """The JSON object at `at`: its values, their exact texts, and where it ends.

    A member that `readers` names is read by that.
    """
    values: dict[str, Any] = {}
    exact: dict[str, str] = {}
    if text[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return values, exact, at + 1
    while True:
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if not isinstance(name, str) or text[at : at + 1] != ":":
            raise ValueError("not a member of a JSON object")
        start = _skip(text, at + 1)
        read = readers.get(name, _DECODER.raw_decode) if readers else _DECODER.raw_decode
        values[name], at = read(text, start)
        exact[name] = text[start:at]
        at = _skip(text, at)
        end, at = text[at : at + 1], at + 1
        if end == "}":
            return values, exact, at
        if end != ",":
            raise ValueError("not a JSON object")
        at = _skip(text, at)


def whole_object(
    text: str, readers: dict[str, Reader] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """A JSON object and nothing else: its values and their exact texts."""
    try:
        values, exact, at = _object(text, _skip(text, 0), readers)
        if _skip(text, at) != len(text):
            raise ValueError("more than one JSON object")
    except (ValueError, RecursionError) as error:
        raise BrokenAnswer(f"an answer is not as it should be: {error}") from error
    return values, exact


@dataclass(frozen=True)
class Position:
    """A place in one history: after the change `id` of the history `cluster`.

    `str()` gives a form to store, `Position.parse` reads it.
    """

    cluster: str
    id: int

    def __str__(self) -> str:
        return f"{self.cluster}/{self.id}"

    @classmethod
    def parse(cls, text: str) -> Position:
        cluster, slash, number = text.rpartition("/")
        if not slash or not cluster or not number.isascii() or not number.isdigit():
            raise ValueError(f"not a position: {text!r}")
        return cls(cluster, int(number))


@dataclass(frozen=True)
class Change:
    """One change. `position` is what to follow from, once it is dealt with."""

    id: int
    #: Microseconds since 1970.
    ts: int
    position: Position
    tenant: str | None = None
    collection: str | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()
    #: The value, as `json.loads` reads it; None where there is none.
    data: Any = None
    #: The exact text of the value; None in deletions and where it was redacted.
    data_json: str | None = None
    #: It deletes its key, or without one its collection, or its tenant.
    deleted: bool = False
    #: All members that the node sent.
    members: Any = None

    @classmethod
    def parse(cls, text: str, cluster: str) -> Change:
        """Reads a change of that history."""
        return cls._of(*whole_object(text), cluster)

    @classmethod
    def list_reader(cls, cluster: str) -> Reader:
        """Reads an array of changes within a text."""

        def read(text: str, at: int) -> tuple[tuple[Change, ...], int]:
            changes: list[Change] = []
            if text[at : at + 1] != "[":
                raise ValueError("not a JSON array")
            at = _skip(text, at + 1)
            while text[at : at + 1] != "]":
                values, exact, at = _object(text, at)
                changes.append(cls._of(values, exact, cluster))
                at = _skip(text, at)
                if text[at : at + 1] == ",":
                    at = _skip(text, at + 1)
            return tuple(changes), at + 1

        return read

    @classmethod
    def _of(cls, values: dict[str, Any], exact: dict[str, str], cluster: str) -> Change:
        id, ts = values.get("_id"), values.get("_ts")
        if type(id) is not int or type(ts) is not int or id < 1:
            raise BrokenAnswer("a change without an id and a time")
        return cls(
            id=id,
            ts=ts,
            position=Position(cluster, id),
            tenant=values.get("tenant"),
            collection=values.get("collection"),
            key=values.get("key"),
            tags=tuple(values.get("tags", ())),
            data=values.get("data"),
            data_json=exact.get("data"),
            deleted=values.get("deleted") is True,
            members=values,
        )


@dataclass(frozen=True)
class Page:
    """Some changes in a row, perhaps none, and the position after them."""

    changes: tuple[Change, ...]
    position: Position
    #: Whether the node had nothing more at that moment.
    at_end: bool

    @classmethod
    def parse(cls, body: bytes, cluster: str) -> Page:
        """Reads the answer to a read of a list."""
        changes, found = _listed(body, "changes", cluster)
        last, at_end = found.get("last"), found.get("atEnd")
        if type(last) is not int or type(at_end) is not bool:
            raise BrokenAnswer("not a page of changes")
        return cls(changes, Position(cluster, last), at_end)

    @staticmethod
    def parse_keys(body: bytes, cluster: str) -> tuple[tuple[Change, ...], bool]:
        """Reads the answer to a read of keys: some, and whether these are the last."""
        changes, found = _listed(body, "keys", cluster)
        at_end = found.get("atEnd")
        if type(at_end) is not bool:
            raise BrokenAnswer("not a page of keys")
        return changes, at_end


def _listed(body: bytes, member: str, cluster: str) -> tuple[tuple[Change, ...], dict[str, Any]]:
    """The changes in a member of an answer, and all members."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BrokenAnswer(f"an answer is not UTF-8: {error}") from error
    found, _ = whole_object(text, {member: Change.list_reader(cluster)})
    changes = found.get(member)
    if not isinstance(changes, tuple):
        raise BrokenAnswer(f"not a page of {member}")
    return changes, found


@dataclass(frozen=True)
class Appended:
    """The consecutive ids of a batch."""

    first: int
    last: int
    count: int
