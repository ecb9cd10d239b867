"""What a client must come through over TLS, and whom it must not speak to."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import tempfile
from typing import Iterator

from driver import Driver
from history import History
from server import Asked, Fault, Node

TOKEN = "ca_secret"


@contextlib.contextmanager
def certified(name: str) -> Iterator[tuple[ssl.SSLContext, str]]:
    """How to serve with a certificate for that name, and the file of who trusts it."""
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key.pem", f"{folder}/cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", key, "-out", certificate, "-subj", f"/CN={name}", "-days", "2",
             "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE"],
            check=True, capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        yield context, certificate


def trusts(driver: Driver) -> None:
    """A node whose certificate the platform trusts is written to and followed, through cuts, with the token."""
    history = History()

    def script(asked: Asked, number: int) -> Fault | None:
        return Fault(cut=30 * number) if number in (0, 2, 4) else None

    with certified("localhost") as (context, certificate), Node(history, script, TOKEN, context) as node:
        writes = [{"op": "append", "data": n} for n in range(3)]
        follows = [{"op": "follow", "mode": mode, "until_id": 3} for mode in ("wait", "stream")]
        outcomes = driver.trusting(certificate).run([node.url], *writes, *follows, token=TOKEN)
        assert not node.troubles, node.troubles
    assert [outcome.ok for outcome in outcomes[:3]] == [1, 2, 3], outcomes
    assert [outcome.ids for outcome in outcomes[3:]] == [[1, 2, 3]] * 2, outcomes


def tells_strangers_nothing(driver: Driver) -> None:
    """Nobody whose certificate is not trusted, or is of another name, hears of a request or the token."""
    options = {"token": TOKEN, "retries": 1}
    with certified("localhost") as (_, other), certified("elsewhere.example") as (of_other_name, trusted):
        with certified("localhost") as (context, _), Node(History(), tls=context) as node:
            error = driver.trusting(other).one([node.url], "append", options, data=1).error
            assert error and (error["kind"], node.asked) == ("broken", []), (error, node.asked)
        with Node(History(), tls=of_other_name) as node:
            error = driver.trusting(trusted).one([node.url], "append", options, data=1).error
            assert error and (error["kind"], node.asked) == ("broken", []), (error, node.asked)


SCENARIOS = [trusts, tells_strangers_nothing]
