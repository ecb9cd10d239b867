#!/usr/bin/env python3
"""Webhook relay: each change of a tenant's list is sent to a URL by POST, in order, at least once.

`Idempotency-Key` names the change: `<history>/<id>`. The position is stored after the
receiver has answered 2xx, so a change may come twice, where this was killed in between or the
answer was lost, and the receiver takes a key that it knows as done. None is ever skipped:
what the receiver does not take is sent again until it does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
from http.client import HTTPException

# In a checkout; not needed where the client is installed.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients", "python", "src"))

from changeagent import Change, Client, Position, Reset

#: Seconds that the receiver has for an answer, and the first and the longest pause between tries.
TIMEOUT_S, PAUSE_MIN_S, PAUSE_MAX_S = 10.0, 0.1, 30.0


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without a body."""

    def redirect_request(self, *_: object) -> None:
        return None


OPENER = urllib.request.build_opener(NoRedirect)


def read_position(path: str) -> Position | int:
    """Where to go on: at the start of the list if nothing is stored."""
    try:
        with open(path) as file:
            return Position.parse(file.read())
    except FileNotFoundError:
        return 0


def write_position(path: str, position: Position) -> None:
    """All of it or nothing, whenever this is killed."""
    with open(f"{path}.new", "w") as file:
        file.write(str(position))
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def body_of(change: Change) -> bytes:
    """The change as the node gives it; `data` is exactly the text that was appended."""
    members = {name: value for name, value in change.members.items() if name != "data"}
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"))
    if change.data_json is not None:
        text = f'{text[:-1]},"data":{change.data_json}}}'
    return text.encode()


def deliver(target: str, change: Change) -> None:
    """Sends a change until it is taken."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(change.position)}
    request = urllib.request.Request(target, body_of(change), headers, method="POST")
    pause = PAUSE_MIN_S
    while True:
        try:
            with OPENER.open(request, timeout=TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            error.close()
            why = f"{error.code} {error.reason}"
        except (OSError, HTTPException) as error:
            why = str(error) or type(error).__name__
        print(f"change {change.id} is sent again: {why}", file=sys.stderr, flush=True)
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, PAUSE_MAX_S)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url", help="the node; several of one cluster with commas between them")
    arguments.add_argument("target", help="where each change is sent")
    arguments.add_argument("tenant", nargs="?", default="shop")
    arguments.add_argument("--position", default="webhook.position", metavar="FILE", help="keeps how far it is")
    given = arguments.parse_args()
    with Client(*given.url.split(",")) as client:
        client.create_tenant(given.tenant, exist_ok=True)
        for page in client.pages(tenant=given.tenant, since=read_position(given.position)):
            for change in page.changes:
                deliver(given.target, change)
                write_position(given.position, change.position)
                print(f"change {change.id} is delivered", flush=True)
            # A quiet list moves too: its position must not fall behind what is purged.
            write_position(given.position, page.position)


if __name__ == "__main__":
    try:
        main()
    except Reset as reset:
        sys.exit(f"changes may be missing, so this needs a decision; without the position file it starts anew: {reset}")
    except KeyboardInterrupt:
        pass
