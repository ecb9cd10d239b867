"""A small model of the API: one history, and what a node answers of it."""

from __future__ import annotations

import json
import threading
import uuid
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

#: Changes are stamped one second apart, beginning here.
EPOCH_US = 1_784_873_643_000_000


class Refusal(Exception):
    """A problem document."""

    def __init__(self, status: int, code: str, **more: Any):
        headers = more.pop("headers", {})
        detail = more.pop("detail", "so says the script")
        self.status, self.code, self.headers = status, code, headers
        self.problem = {"type": f"/errors/{code}", "title": code, "status": status, "detail": detail,
                        "code": code, **more}
        super().__init__(code)


class History:
    """Changes in order, the keys that they leave, and the writes already seen."""

    def __init__(self, knows_cluster: bool = True) -> None:
        self.cluster = str(uuid.uuid4())
        #: Whether a read may name the history that it means.
        self.knows_cluster = knows_cluster
        self.first = 1
        #: Whether it says how far it is itself, to who is farther.
        self.is_behind = False
        self.changes: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        self.keys: dict[tuple[str, str], int] = {}
        self.seen: dict[str, tuple[Any, int, Any]] = {}

    def append(self, data: str | None, **members: Any) -> int:
        """Adds a change whose value is the JSON text `data`."""
        with self.changed:
            id = len(self.changes) + 1
            self.changes.append({"_id": id, "_ts": EPOCH_US + id, **members, "data": data})
            if "key" in members:
                at = (members["collection"], members["key"])
                self.keys.pop(at, None) if members.get("deleted") else self.keys.update({at: id})
            self.changed.notify_all()
            return id

    @property
    def last(self) -> int:
        return len(self.changes)

    def text(self, id: int) -> str:
        """A change as a node sends it."""
        members = dict(self.changes[id - 1])
        data = members.pop("data")
        text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
        return text if data is None else f'{text[:-1]},"data":{data}}}'

    def listed(self, path: str, tags: list[str], since: int, limit: int) -> tuple[list[int], int]:
        """The ids of a list, and the last id looked at."""
        ids: list[int] = []
        for id in range(max(since, self.first - 1) + 1, self.last + 1):
            if len(ids) == limit:
                return ids, ids[-1]
            if self.is_of(path, tags, self.changes[id - 1]):
                ids.append(id)
        return ids, max(since, self.last) if not self.is_behind else self.last

    @staticmethod
    def is_of(path: str, tags: list[str], change: dict[str, Any]) -> bool:
        parts = [unquote(part) for part in path.split("/")]
        if tags and not set(tags) & set(change.get("tags", ())):
            return False
        return len(parts) < 3 or change.get(parts[1].rstrip("s")) == parts[2]

    def state(self, path: str, after: str | None) -> tuple[int, list[int]]:
        """The position, and the ids of the current changes in the order of their keys."""
        from_key = tuple((after or "").encode().split(b"/", 1)) if after else (b"",)
        rows = sorted(((of.encode(), key.encode()), id) for (of, key), id in self.keys.items())
        ids = [id for at, id in rows if at > from_key and self.is_of(path, [], self.changes[id - 1])]
        return self.last, ids

    def write(self, method: str, target: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        """Applies a write once for each idempotency key: status and answer."""
        with self.changed:
            if self.knows_cluster and headers.get("changeagent-cluster", self.cluster) != self.cluster:
                raise Refusal(409, "other-history", cluster=self.cluster)
            key = headers.get("idempotency-key", "")
            asked = [method, target, encode(body), headers.get("if-match"), headers.get("if-none-match")]
            if key in self.seen:
                if self.seen[key][0] != asked:
                    raise Refusal(422, "idempotency-mismatch")
                return self.seen[key][1:]
            status, answer = self._write(method, target.split("/"), body, headers)
            if key:
                self.seen[key] = (asked, status, answer)
            return status, answer

    def _write(
        self, method: str, parts: list[str], body: Any, headers: dict[str, str]
    ) -> tuple[int, Any]:
        if parts[-1] == "changes" and isinstance(body, list):
            ids = [self.append(encode(one.pop("data")), **one) for one in body]
            return 201, {"first": ids[0], "last": ids[-1], "count": len(ids)}
        if parts[-1] == "changes":
            return 201, {"_id": self.append(encode(body.pop("data")), **body)}
        if parts[-1] in ("tenants", "collections"):
            return 201, {parts[-1][:-1]: str(uuid.uuid4()), **body}
        collection, key = unquote(parts[2]), unquote(parts[4])
        current = self.keys.get((collection, key))
        match = headers.get("if-match")
        if match is not None and match != f'"{current}"' or current and "if-none-match" in headers:
            raise Refusal(412, "precondition-failed", current=current)
        at = {"collection": collection, "key": key}
        if method == "DELETE":
            if current is None:
                raise Refusal(404, "not-found")
            return 200, {"_id": self.append(None, **at, deleted=True)}
        return 200 if current else 201, {"_id": self.append(encode(body.pop("data")), **at, **body)}


def encode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Read:
    """A read as it was asked for."""

    def __init__(self, target: str, accept: str, history: History):
        parts = urlsplit(target)
        query = parse_qsl(parts.query, keep_blank_values=True)
        self.path = parts.path
        self.tags = [value for name, value in query if name == "tag"]
        named = dict(query)
        known = {"since", "limit", "block", "tag", "cursors", "cluster", "after", "prefix", "min_id"}
        for name in named:
            if name not in known or name == "cluster" and not history.knows_cluster:
                raise Refusal(400, "invalid-parameter", parameter=name)
        if named.get("cluster", history.cluster) != history.cluster:
            raise Refusal(409, "other-history", cluster=history.cluster)
        since = named.get("since", "0")
        self.since = history.last if since == "now" else int(since)
        self.limit = int(named.get("limit", "100"))
        self.block = float(named.get("block", "0"))
        self.cursors = named.get("cursors") == "true"
        self.after, self.prefix = named.get("after"), named.get("prefix", "")
        self.min_id = int(named.get("min_id", "0"))
        self.is_stream = "ndjson" in accept
        if 0 < self.since < history.first - 1:
            raise Refusal(410, "purged", first=history.first)


def quoted(text: str) -> str:
    return quote(text, safe="")
