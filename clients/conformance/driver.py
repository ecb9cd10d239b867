"""Runs the driver of a client library: a program that does what one JSON argument says."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any

#: Seconds after which a driver hangs.
PATIENCE_S = 60

#: Short pauses, so that many failures take little time.
OPTIONS = {"pause_min": 0.002, "pause_max": 0.006, "retries": 10}


@dataclass
class Outcome:
    """What became of a call."""

    ok: Any
    error: dict[str, Any] | None
    #: What was handed over: [id, text of the value or null, position].
    changes: list[list[Any]]

    @property
    def ids(self) -> list[int]:
        return [change[0] for change in self.changes]


class Driver:
    def __init__(self, command: list[str]):
        self.command = command
        #: Further variables of its environment.
        self.environment: dict[str, str] = {}

    def trusting(self, certificate: str) -> Driver:
        """The same, whose platform trusts the certificate in that file."""
        driver = Driver(self.command)
        driver.environment = {"SSL_CERT_FILE": certificate, "NODE_EXTRA_CA_CERTS": certificate}
        return driver

    def start(
        self, nodes: list[str], calls: list[dict[str, Any]], quiet: bool = False, **options: Any
    ) -> subprocess.Popen:
        task = {"nodes": nodes, "options": {**OPTIONS, **options}, "calls": calls}
        return subprocess.Popen([*self.command, json.dumps(task)], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL if quiet else None, text=True,
                                env={**os.environ, **self.environment})

    def run(self, nodes: list[str], *calls: dict[str, Any], **options: Any) -> list[Outcome]:
        """Runs the calls one after another, each to its end."""
        child = self.start(nodes, [*calls], **options)
        try:
            output, _ = child.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            raise AssertionError(f"the driver hangs in {calls}") from None
        assert child.returncode == 0, f"the driver ended with {child.returncode}: {output[-2000:]}"
        outcomes: list[Outcome] = []
        changes: list[list[Any]] = []
        for line in map(json.loads, output.splitlines()):
            if "change" in line:
                changes.append(line["change"])
            else:
                outcomes.append(Outcome(line.get("ok"), line.get("error"), changes))
                changes = []
        assert len(outcomes) == len(calls), f"{len(calls)} calls, {len(outcomes)} outcomes"
        return outcomes

    def one(self, nodes: list[str], op: str, options: dict[str, Any] | None = None, **call: Any) -> Outcome:
        """The outcome of one call."""
        return self.run(nodes, {"op": op, **call}, **(options or {}))[0]
