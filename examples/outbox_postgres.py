#!/usr/bin/env python3
"""Outbox: what an application commits to PostgreSQL comes to a tenant's list, each row exactly once.

The application inserts a row into `outbox` in its own transaction:
`INSERT INTO outbox (data) VALUES ('{"customer": "ann", "cents": 100}')`. The relay appends
rows under the idempotency key that each was born with, then marks them. Killed in
between it appends them again, which the node answers as it did the first time.

Rows are looked for by their mark, not by their number: a transaction that commits late
leaves rows with low numbers, which a relay that remembers the last number would miss. So
rows come in the order in which they are seen, those of one transaction in theirs.

It runs `psql`, so that nothing needs to be installed; a driver does the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

# In a checkout; not needed where the client is installed.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients", "python", "src"))

from changeagent import Client

#: Seconds between looks at a table that had nothing new.
PAUSE_S = 0.2
#: Rows that are read, and marked, at once.
ROWS = 20
#: What psql ends with where it has no connection, or lost it.
NO_CONNECTION = 2
TABLE = """
SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS outbox (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key UUID NOT NULL DEFAULT gen_random_uuid(),
  data JSONB NOT NULL,
  change BIGINT);
CREATE INDEX IF NOT EXISTS outbox_unsent ON outbox (id) WHERE change IS NULL;
"""
UNSENT = f"SELECT json_build_array(id, key, data) FROM outbox WHERE change IS NULL ORDER BY id LIMIT {ROWS}"


def run(database: str, statement: str) -> list[str]:
    """The lines that a statement gives; waits while the database is away."""
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]
    while True:
        done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        if done.returncode != NO_CONNECTION:
            done.check_returncode()
            return done.stdout.splitlines()
        time.sleep(PAUSE_S)


def relay(database: str, client: Client, tenant: str) -> None:
    """Runs for ever. A row that the node refuses stops it, since the next must not overtake it."""
    while True:
        sent = []
        for line in run(database, UNSENT):
            id, key, data = json.loads(line)
            change = client.append(data, tenant=tenant, idempotency_key=key)
            sent.append(f"({id}, {change})")
            print(f"row {id} is change {change}", flush=True)
        if sent:
            run(database, f"UPDATE outbox SET change = c FROM (VALUES {', '.join(sent)}) AS sent (i, c) WHERE id = i")
        else:
            time.sleep(PAUSE_S)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url", help="the node; several of one cluster with commas between them")
    arguments.add_argument("database", nargs="?", default="postgresql:///shop", help="as psql takes it")
    arguments.add_argument("tenant", nargs="?", default="shop")
    given = arguments.parse_args()
    # It never gives up: the rows are safe where they are.
    options = {"retries": sys.maxsize, "on_retry": lambda error, _: print(error, file=sys.stderr, flush=True)}
    with Client(*given.url.split(","), **options) as client:
        # To make an index waits for transactions that write, even where it is there.
        if run(given.database, "SELECT to_regclass('outbox')") != ["outbox"]:
            run(given.database, TABLE)
        client.create_tenant(given.tenant, exist_ok=True)
        relay(given.database, client, given.tenant)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
