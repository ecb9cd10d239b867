"""The clients over TLS: the certificate of a node must be of whom they trust."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

import node  # noqa: F401 (the path of the package)

import changeagent

ANSWER = json.dumps({"_id": 7}).encode()


@unittest.skipUnless(shutil.which("openssl"), "there is no openssl")
class Tls(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        key, self.certificate = f"{folder.name}/key.pem", f"{folder.name}/cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", key, "-out", self.certificate, "-subj", "/CN=localhost", "-days", "2",
             "-addext", "subjectAltName=DNS:localhost"],
            check=True, capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listener.close)
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        threading.Thread(target=self.serve, args=(context,), daemon=True).start()

    def serve(self, context: ssl.SSLContext) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            with plain:
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        self.requests.append(connection.recv(65536))
                        head = f"HTTP/1.1 201 Created\r\nContent-Length: {len(ANSWER)}\r\nConnection: close\r\n\r\n"
                        connection.sendall(head.encode() + ANSWER)
                except OSError:
                    continue

    def test_a_node_that_is_trusted_is_written_to(self) -> None:
        context = ssl.create_default_context(cafile=self.certificate)
        with changeagent.Client(self.url, tls=context, token="secret") as client:
            self.assertEqual(client.append(1), 7)

        async def append() -> int:
            async with changeagent.AsyncClient(self.url, tls=context, token="secret") as client:
                return await client.append(1)

        self.assertEqual(asyncio.run(append()), 7)
        for request in self.requests:
            self.assertIn(b"Authorization: Bearer secret\r\n", request)

    def test_a_stranger_is_told_nothing(self) -> None:
        with changeagent.Client(self.url, token="secret", retries=1, pause_min=0.01) as client:
            with self.assertRaises(changeagent.BrokenAnswer):
                client.append(1)

        async def append() -> None:
            async with changeagent.AsyncClient(self.url, token="secret", retries=1, pause_min=0.01) as client:
                await client.append(1)

        with self.assertRaises(changeagent.BrokenAnswer):
            asyncio.run(append())
        self.assertEqual(self.requests, [])


if __name__ == "__main__":
    unittest.main()
