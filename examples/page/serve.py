#!/usr/bin/env python3
"""Serves a page that follows a tenant's list, and the JavaScript client that it uses.

The page asks the node itself, so the node must know its origin: start it
with `--allow-origin http://127.0.0.1:8080`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT = os.path.join(HERE, "..", "..", "clients", "javascript", "src")


class Server(BaseHTTPRequestHandler):
    settings: dict[str, object]

    def do_GET(self) -> None:
        if self.path == "/":
            return self.send_file(os.path.join(HERE, "index.html"), "text/html; charset=utf-8")
        if self.path == "/settings":
            return self.send("application/json", json.dumps(self.settings).encode())
        if found := re.fullmatch(r"/client/(\w+\.js)", self.path):
            return self.send_file(os.path.join(CLIENT, found[1]), "text/javascript; charset=utf-8")
        return self.send_error(404)

    def send_file(self, path: str, kind: str) -> None:
        try:
            with open(path, "rb") as file:
                self.send(kind, file.read())
        except FileNotFoundError:
            self.send_error(404)

    def send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url", help="the node; several of one cluster with commas between them")
    arguments.add_argument("tenant", nargs="?", default="shop")
    arguments.add_argument("--port", type=int, default=8080)
    given = arguments.parse_args()
    Server.settings = {"nodes": given.url.split(","), "tenant": given.tenant}
    with ThreadingHTTPServer(("127.0.0.1", given.port), Server) as server:
        print(f"open http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
