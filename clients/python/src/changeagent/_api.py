"""Each call of the API: the request that it is, and what is made of the answer."""

from __future__ import annotations

import json
from typing import Any, Iterable, Mapping

from . import _paths
from ._core import BLOCK_S_MAX, Core, Reply, Request, Steps, check_cluster
from .errors import ApiError, BrokenAnswer
from .model import Appended, Change, Page

JSON = {"Content-Type": "application/json"}


def encode(value: Any) -> bytes:
    """JSON; NaN and infinities, which it does not have, are errors."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode("utf-8")


def change_members(data: Any, **others: Any) -> dict[str, Any]:
    """The body of a write, without what was not given."""
    members = {name: value for name, value in others.items() if value is not None}
    if "tags" in members:
        members["tags"] = list(members["tags"])
        if not members["tags"]:
            del members["tags"]
    return {**members, "data": data}


class Api:
    def __init__(self, core: Core):
        self._core = core

    def append(self, members: dict[str, Any], key: str | None) -> Steps:
        request = Request("POST", "/changes", headers={**JSON}, body=encode(members))
        return self._core.write(request, key, _id)

    def append_batch(
        self, changes: Iterable[Mapping[str, Any]], tenant: str | None, key: str | None
    ) -> Steps:
        target = _paths.of_list(tenant, None) + "/changes"
        request = Request("POST", target, headers={**JSON}, body=encode([*changes]))
        return self._core.write(request, key, _range)

    def put(
        self, path: str, members: dict[str, Any], if_match: int | None, if_absent: bool, key: str | None
    ) -> Steps:
        headers = {**JSON, **_conditions(if_match, if_absent)}
        request = Request("PUT", path, headers=headers, body=encode(members))
        return self._core.write(request, key, _id)

    def delete(self, path: str, if_match: int | None, key: str | None) -> Steps:
        request = Request("DELETE", path, headers=_conditions(if_match, False))
        return (yield from _none_where_absent(self._core.write(request, key, _id)))

    def create(self, path: str, name: str, kind: str, exist_ok: bool) -> Steps:
        """Creates a tenant or a collection: its UUID."""
        request = Request("POST", path, headers={**JSON}, body=encode({"name": name}))
        try:
            return (yield from self._core.write(request, None, lambda reply: reply.member(kind, str)))
        except ApiError as error:
            holder = error.problem.get(kind)
            if exist_ok and error.code == "name-taken" and isinstance(holder, str):
                return holder
            raise

    def read(
        self, path: str, tags: Iterable[str], since: int | str, limit: int, block: float,
        min_id: int | None, strong: bool,
    ) -> Steps:
        wait = min(block, BLOCK_S_MAX)
        query: list[tuple[str, object]] = [("since", since), ("limit", limit)]
        query += [("block", _paths.decimal(wait) if wait else None)]
        query += [*_freshness(min_id, strong), *(("tag", tag) for tag in tags)]
        request = Request("GET", path + "/changes" + _paths.query(query), wait=wait)
        return self._core.call(request, _page)

    def get(self, path: str, min_id: int | None = None, strong: bool = False) -> Steps:
        request = Request("GET", path + _paths.query(_freshness(min_id, strong)))
        return (yield from _none_where_absent(self._core.call(request, _change)))

    def keys(self, path: str, prefix: str | None, after: str | None, limit: int) -> Steps:
        """Some keys after `after`, and whether these are the last."""
        query = [("after", after), ("prefix", prefix), ("limit", limit)]
        request = Request("GET", path + "/keys" + _paths.query(query))
        return self._core.call(request, _keys)


def _conditions(if_match: int | None, if_absent: bool) -> dict[str, str]:
    if if_match is not None and if_absent:
        raise ValueError("a key cannot have a version and be absent")
    if if_absent:
        return {"If-None-Match": "*"}
    return {} if if_match is None else {"If-Match": f'"{if_match}"'}


def _freshness(min_id: int | None, strong: bool) -> list[tuple[str, object]]:
    """How new the state must be that a read is answered from."""
    return [("min_id", min_id), ("consistency", "strong" if strong else None)]


def _none_where_absent(steps: Steps) -> Steps:
    try:
        return (yield from steps)
    except ApiError as error:
        if error.code == "not-found":
            return None
        raise


def _id(reply: Reply) -> int:
    return int(reply.member("_id", int))


def _range(reply: Reply) -> Appended:
    return Appended(*(reply.member(name, int) for name in ("first", "last", "count")))


def _page(reply: Reply) -> Page:
    return Page.parse(reply.body, check_cluster(reply.headers, None))


def _change(reply: Reply) -> Change:
    return Change.parse(_text(reply), check_cluster(reply.headers, None))


def _keys(reply: Reply) -> tuple[tuple[Change, ...], bool]:
    cluster = check_cluster(reply.headers, None)
    return Page.parse_keys(reply.body, cluster)


def _text(reply: Reply) -> str:
    try:
        return reply.body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BrokenAnswer(f"an answer is not UTF-8: {error}") from error
