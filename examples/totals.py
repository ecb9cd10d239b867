#!/usr/bin/env python3
"""A materialised view in SQLite: the number and the sum of the orders of each customer of a tenant's list.

The totals and the position in the list are written in one transaction, so each
order counts once, however often this is killed. After a `Reset` (the node serves another
history, or the list was purged beyond the position) it counts anew what the list holds.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys

# In a checkout; not needed where the client is installed.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients", "python", "src"))

from changeagent import Change, Client, Mirror, Page, Reset

TABLE = """
CREATE TABLE IF NOT EXISTS totals (
  customer TEXT PRIMARY KEY, orders INTEGER NOT NULL, cents INTEGER NOT NULL) WITHOUT ROWID
"""


def order_of(change: Change) -> tuple[str, int] | None:
    """The customer and the amount; None of a change that is not an order, or was redacted."""
    data = change.data if isinstance(change.data, dict) else {}
    customer, cents = data.get("customer"), data.get("cents")
    return (customer, cents) if isinstance(customer, str) and type(cents) is int else None


def add(db: sqlite3.Connection, page: Page) -> None:
    """Called within the transaction that moves the position past this page."""
    for change in page.changes:
        if order := order_of(change):
            db.execute(
                "INSERT INTO totals VALUES (?, 1, ?) ON CONFLICT (customer)"
                " DO UPDATE SET orders = orders + 1, cents = cents + excluded.cents",
                order,
            )


def forget(db: sqlite3.Connection, reset: Reset) -> None:
    """Called within the transaction that goes back to the start of the list."""
    print(f"counting anew: {reset}", file=sys.stderr, flush=True)
    db.execute("DELETE FROM totals")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url", help="the node; several of one cluster with commas between them")
    arguments.add_argument("database", nargs="?", default="totals.db")
    arguments.add_argument("tenant", nargs="?", default="shop")
    arguments.add_argument("--page", type=int, default=1000, metavar="N", help="changes in one transaction")
    given = arguments.parse_args()
    view = Mirror(
        given.database, keep="nothing", table="of_totals", tenant=given.tenant,
        limit=given.page, rebuild=True, on_page=add, on_reset=forget,
    )
    view.db.execute(TABLE)
    with Client(*given.url.split(",")) as client:
        client.create_tenant(given.tenant, exist_ok=True)
        for page in view.pages(client):
            rows = view.db.execute("SELECT customer, orders, cents FROM totals ORDER BY customer").fetchall()
            print(page.position, *(f"{name}: {orders} for {cents / 100:.2f}" for name, orders, cents in rows), sep="  ", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
