"""The driver of the Python client for the conformance program: `driver.py [--async] JSON`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import aclosing, closing
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src"))

import changeagent  # noqa: E402

def say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def show(change: changeagent.Change) -> list[Any]:
    return [change.id, change.data_json, str(change.position)]


def failure(error: changeagent.ChangeAgentError) -> dict[str, Any]:
    told = {"outcome_unknown": error.outcome_unknown, "idempotency_key": error.idempotency_key}
    if isinstance(error, changeagent.ApiError):
        told |= {"kind": "refused", "status": error.status, "code": error.code}
        told |= {"detail": error.detail, "problem": error.problem}
    else:
        told |= {"kind": "broken"}
    if isinstance(error, changeagent.Reset):
        told |= {"first": error.first, "cluster": error.cluster}
        told |= {"kind": "reset"}
    return told


class Until:
    """Takes pages until one holds a certain value."""

    def __init__(self, data: str | None, id: int | None):
        self.data = data
        self.id = id
        self.position: changeagent.Position | None = None

    def ends_with(self, page: changeagent.Page, quiet: bool = False) -> bool:
        self.position = page.position
        for change in page.changes:
            if not quiet:
                say(change=show(change))
        if self.id is not None and page.position.id >= self.id:
            return True
        return any(self.data is not None and change.data_json == self.data for change in page.changes)

    def tell(self) -> None:
        say(ok={"position": str(self.position)})


def mirror_of(call: dict[str, Any]) -> changeagent.Mirror:
    def note(db: Any, page: changeagent.Page) -> None:
        db.executemany("INSERT INTO seen VALUES (?)", [(change.id,) for change in page.changes])

    def forget(db: Any, reset: changeagent.Reset) -> None:
        db.execute("DELETE FROM seen")
        db.execute("INSERT INTO resets VALUES (?)", (reset.code,))

    mirror = changeagent.Mirror(call.pop("path"), on_page=note, on_reset=forget, **call)
    mirror.db.execute("CREATE TABLE IF NOT EXISTS seen (id INTEGER)")
    mirror.db.execute("CREATE TABLE IF NOT EXISTS resets (code TEXT)")
    return mirror


def prepare(call: dict[str, Any]) -> tuple[str, Until]:
    since = call.get("since")
    if isinstance(since, str) and since != "now":
        call["since"] = changeagent.Position.parse(since)
    return call.pop("op"), Until(call.pop("until_data", None), call.pop("until_id", None))


def told(result: Any) -> None:
    if isinstance(result, changeagent.Page):
        for change in result.changes:
            say(change=show(change))
        result = {"position": str(result.position)}
    elif isinstance(result, changeagent.Change):
        result = show(result)
    elif isinstance(result, changeagent.Appended):
        result = {"first": result.first, "last": result.last, "count": result.count}
    say(ok=result)


def run(client: changeagent.Client, call: dict[str, Any]) -> None:
    op, until = prepare(call)
    if op in ("follow", "state", "mirror"):
        pages = {
            "follow": lambda: client.pages(**call),
            "state": lambda: client.state(**call),
            "mirror": lambda: mirror_of(call).pages(client),
        }[op]()
        with closing(pages):
            for page in pages:
                if until.ends_with(page, quiet=op == "mirror"):
                    break
        until.tell()
    elif op == "keys":
        for change in client.keys(**call):
            say(change=show(change))
        say(ok=None)
    else:
        told(getattr(client, op)(**call))


async def run_async(client: changeagent.AsyncClient, call: dict[str, Any]) -> None:
    op, until = prepare(call)
    if op in ("follow", "state", "mirror"):
        pages = {
            "follow": lambda: client.pages(**call),
            "state": lambda: client.state(**call),
            "mirror": lambda: mirror_of(call).pages_async(client),
        }[op]()
        async with aclosing(pages):
            async for page in pages:
                if until.ends_with(page, quiet=op == "mirror"):
                    break
        until.tell()
    elif op == "keys":
        async for change in client.keys(**call):
            say(change=show(change))
        say(ok=None)
    else:
        told(await getattr(client, op)(**call))


async def main_async(task: dict[str, Any]) -> None:
    async with changeagent.AsyncClient(*task["nodes"], **task["options"]) as client:
        for call in task["calls"]:
            try:
                await run_async(client, call)
            except changeagent.ChangeAgentError as error:
                say(error=failure(error))


def main(task: dict[str, Any]) -> None:
    with changeagent.Client(*task["nodes"], **task["options"]) as client:
        for call in task["calls"]:
            try:
                run(client, call)
            except changeagent.ChangeAgentError as error:
                say(error=failure(error))


if __name__ == "__main__":
    if sys.argv[1] == "--async":
        asyncio.run(main_async(json.loads(sys.argv[2])))
    else:
        main(json.loads(sys.argv[1]))
