"""The tables of a local copy, the same in all client libraries. Format 1.

`changeagent_mirrors` has a row for each copy: how far it has come. `loading` is
the collection and key (`<collection>/<key>`) after which its state is still to be
read, and null once that is done.
"""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Literal

from .errors import ChangeAgentError
from .model import Change, Position

FORMAT = 1
MIRRORS = """
CREATE TABLE IF NOT EXISTS changeagent_mirrors (
  name TEXT PRIMARY KEY, format INTEGER NOT NULL, keep TEXT NOT NULL, list TEXT NOT NULL,
  cluster TEXT, since INTEGER NOT NULL, loading TEXT)
"""
CHANGES = """
CREATE TABLE IF NOT EXISTS {name} (
  id INTEGER PRIMARY KEY, ts INTEGER NOT NULL, tenant TEXT, collection TEXT, key TEXT,
  tags TEXT, data TEXT, deleted INTEGER NOT NULL)
"""
KEYS = """
CREATE TABLE IF NOT EXISTS {name} (
  collection TEXT NOT NULL, key TEXT NOT NULL, id INTEGER NOT NULL, ts INTEGER NOT NULL,
  tenant TEXT, tags TEXT, data TEXT, PRIMARY KEY (collection, key)) WITHOUT ROWID
"""
Keep = Literal["changes", "keys", "nothing"]


def _tags(change: Change) -> str | None:
    return json.dumps(change.tags, ensure_ascii=False) if change.tags else None


class Tables:
    """What one copy reads and writes, always within a transaction of its caller."""

    def __init__(self, db: sqlite3.Connection, name: str, keep: Keep, list_path: str):
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"not the name of a table: {name!r}")
        if keep not in ("changes", "keys", "nothing"):
            raise ValueError(f"keep is changes, keys or nothing, not {keep!r}")
        self._db = db
        self._name = name
        self._keep = keep
        self._list = list_path

    def create(self) -> None:
        self._db.execute(MIRRORS)
        if self._keep != "nothing":
            self._db.execute((CHANGES if self._keep == "changes" else KEYS).format(name=self._name))

    def read(self) -> tuple[Position | None, str | None]:
        """How far the copy is, None before its first page; and where its loading goes on."""
        row = self._db.execute(
            "SELECT format, keep, list, cluster, since, loading FROM changeagent_mirrors WHERE name = ?",
            (self._name,),
        ).fetchone()
        if row is None:
            return None, None
        if row[0] != FORMAT:
            raise ChangeAgentError(f"the copy {self._name} has the format {row[0]}, not {FORMAT}")
        if (row[1], row[2]) != (self._keep, self._list):
            raise ChangeAgentError(f"the copy {self._name} keeps {row[1]} of {row[2]}")
        return Position(row[3], row[4]), row[5]

    def move(self, position: Position, loading: str | None) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO changeagent_mirrors VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._name, FORMAT, self._keep, self._list, position.cluster, position.id, loading),
        )

    def clear(self) -> None:
        """Back to before the first page."""
        if self._keep != "nothing":
            self._db.execute(f"DELETE FROM {self._name}")
        self._db.execute("DELETE FROM changeagent_mirrors WHERE name = ?", (self._name,))

    def apply(self, change: Change) -> None:
        if self._keep == "changes":
            self._db.execute(
                f"INSERT INTO {self._name} VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (change.id, change.ts, change.tenant, change.collection, change.key,
                 _tags(change), change.data_json, int(change.deleted)),
            )
        elif self._keep == "keys" and change.deleted:
            self._delete(change)
        elif self._keep == "keys" and change.key is not None:
            # While a state is caught up with, older versions come after newer ones.
            self._db.execute(
                f"INSERT INTO {self._name} VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (collection, key) DO UPDATE SET id = excluded.id, ts = excluded.ts,"
                " tenant = excluded.tenant, tags = excluded.tags, data = excluded.data"
                " WHERE excluded.id > id",
                (change.collection, change.key, change.id, change.ts, change.tenant,
                 _tags(change), change.data_json),
            )

    def _delete(self, change: Change) -> None:
        """What a deletion takes with it: a key, a collection or a tenant."""
        names: tuple[str | None, ...]
        if change.key is not None:
            where, names = "collection = ? AND key = ?", (change.collection, change.key)
        elif change.collection is not None:
            where, names = "collection = ?", (change.collection,)
        elif change.tenant is not None:
            where, names = "tenant = ?", (change.tenant,)
        else:
            return
        self._db.execute(f"DELETE FROM {self._name} WHERE {where} AND id < ?", (*names, change.id))
