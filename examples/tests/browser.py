"""Headless Chromium, told what to do by a pipe (the DevTools protocol)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

#: Seconds after which it hangs.
PATIENCE_S = 60
#: Nothing but this machine is talked to.
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-extensions", "--disable-sync", "--no-first-run", "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--remote-debugging-pipe",
]


class Refused(AssertionError):
    """Chromium answers a call with an error, for one when it loads another page meanwhile."""


def is_installed() -> bool:
    return shutil.which("chromium") is not None


class Browser:
    """One window; what pages store is in the folder, and is there again for the next browser."""

    def __init__(self, folder: str, url: str) -> None:
        read, its_write = os.pipe()
        its_read, write = os.pipe()
        # Chromium reads descriptor 3 and writes to descriptor 4.
        command = ["bash", "-c", f'exec "$0" "$@" 3<&{its_read} 4>&{its_write}', "chromium", *FLAGS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={folder}"], pass_fds=(its_read, its_write),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        os.close(its_read)
        os.close(its_write)
        self._in = os.fdopen(read, "rb")
        self._out = os.fdopen(write, "wb", buffering=0)
        self._id = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url=url)["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **arguments: Any) -> dict[str, Any]:
        self._id += 1
        message = {"id": self._id, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            text = b""
            while not text.endswith(b"\0"):
                part = self._in.read(1)
                if not part:
                    raise AssertionError(f"chromium ended: {text!r}")
                text += part
            answer = json.loads(text[:-1])
            if answer.get("id") == self._id:
                if "error" in answer:
                    raise Refused(f"{method}: {answer['error']}")
                return answer["result"]

    def value(self, expression: str) -> Any:
        """What an expression is within the page; None while there is no page, or it throws."""
        try:
            return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")
        except Refused:
            return None

    def close(self) -> None:
        """Ends it as a user does, so that all that pages stored is on the disk."""
        self._session = None
        self.call("Browser.close")
        self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()
