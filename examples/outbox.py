#!/usr/bin/env python3
"""Outbox: what an application commits to SQLite comes to a tenant's list, each row exactly once.

The application writes its own tables and a row of `outbox` in one transaction, so
there is a row if and only if the rest happened. The relay appends the rows in their
order under the idempotency key that each row was born with, then marks them. Killed in
between it appends them again, which the node answers as it did the first time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import sys
import time
from contextlib import closing

# In a checkout; not needed where the client is installed.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients", "python", "src"))

from changeagent import Client

#: Seconds between looks at a table that had nothing new, and for another writer.
PAUSE_S, BUSY_S = 0.1, 30.0
#: Rows that are read at once.
ROWS = 100
TABLES = """
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))),
  data TEXT NOT NULL CHECK (json_valid(data)),
  change INTEGER);
CREATE INDEX IF NOT EXISTS outbox_unsent ON outbox (id) WHERE change IS NULL;
"""


def connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(TABLES)
    return db


def order(db: sqlite3.Connection, customer: str, cents: int) -> None:
    """The application: an order and what others are to hear of it, both or neither."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        number = db.execute("INSERT INTO orders (customer, cents) VALUES (?, ?)", (customer, cents)).lastrowid
        data = json.dumps({"order": number, "customer": customer, "cents": cents})
        db.execute("INSERT INTO outbox (data) VALUES (?)", (data,))


def relay(db: sqlite3.Connection, client: Client, tenant: str) -> None:
    """Runs for ever. A row that the node refuses stops it, since the next must not overtake it."""
    while True:
        rows = db.execute(
            "SELECT id, key, data FROM outbox WHERE change IS NULL ORDER BY id LIMIT ?", (ROWS,)
        ).fetchall()
        for id, key, data in rows:
            change = client.append(json.loads(data), tenant=tenant, idempotency_key=key)
            db.execute("UPDATE outbox SET change = ? WHERE id = ?", (change, id))
            print(f"row {id} is change {change}", flush=True)
        if not rows:
            time.sleep(PAUSE_S)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url", help="the node; several of one cluster with commas between them")
    arguments.add_argument("database", nargs="?", default="shop.db")
    arguments.add_argument("tenant", nargs="?", default="shop")
    arguments.add_argument("--orders", type=int, default=0, metavar="N", help="make so many orders first")
    given = arguments.parse_args()
    # It never gives up: the rows are safe where they are.
    options = {"retries": sys.maxsize, "on_retry": lambda error, _: print(error, file=sys.stderr, flush=True)}
    with Client(*given.url.split(","), **options) as client, closing(connect(given.database)) as db:
        for _ in range(given.orders):
            order(db, random.choice(["ann", "bob", "cleo"]), random.randrange(100, 10_000))
        client.create_tenant(given.tenant, exist_ok=True)
        relay(db, client, given.tenant)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
