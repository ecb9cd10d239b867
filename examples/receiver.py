#!/usr/bin/env python3
"""A receiver for webhook.py, which makes of "at least once" "once": it stores the key of each
change in the transaction that does the work, and takes a key that it knows as done.
"""

from __future__ import annotations

import argparse
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TABLE = "CREATE TABLE IF NOT EXISTS received (key TEXT PRIMARY KEY, body TEXT NOT NULL)"
BODY_BYTES_MAX = 2 << 20


class Receiver(BaseHTTPRequestHandler):
    db: sqlite3.Connection
    lock = threading.Lock()

    def do_POST(self) -> None:
        key, size = self.headers.get("Idempotency-Key"), self.headers.get("Content-Length", "")
        if not key or not size.isdigit() or int(size) > BODY_BYTES_MAX:
            return self.send_error(400)
        body = self.rfile.read(int(size))
        if len(body) < int(size):
            # It was cut off; nobody waits for an answer.
            return None
        self.take(key, body.decode())
        self.send_response(204)
        self.end_headers()

    def take(self, key: str, body: str) -> bool:
        """Whether it is new. The work that a change asks for belongs into this transaction."""
        with self.lock, self.db:
            new = self.db.execute("INSERT OR IGNORE INTO received VALUES (?, ?)", (key, body)).rowcount == 1
        print("new" if new else "known", key, body, flush=True)
        return new

    def log_message(self, *_: object) -> None:
        pass


def open_database(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30.0, check_same_thread=False)
    db.execute(TABLE)
    return db


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("port", nargs="?", type=int, default=8081)
    arguments.add_argument("database", nargs="?", default="received.db")
    given = arguments.parse_args()
    Receiver.db = open_database(given.database)
    with ThreadingHTTPServer(("127.0.0.1", given.port), Receiver) as server:
        print(f"receiving at http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
