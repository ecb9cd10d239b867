"""The page in headless Chromium is loaded anew, and its browser killed: it shows each change once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import unittest
from urllib.parse import parse_qs, urlsplit

import browser
import tools

TEXT = "<b>not markup</b>"


@unittest.skipUnless(browser.is_installed() or os.environ.get("CI") == "true", "there is no chromium")
class Page(tools.Case):
    def setUp(self) -> None:
        # The node is told the origin of the page before the page is there, so its port is chosen here.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"
        self.flags = ("--allow-origin", self.origin)
        super().setUp()
        command = [sys.executable, os.path.join(tools.EXAMPLES, "page", "serve.py")]
        server = subprocess.Popen([*command, self.node.url, tools.TENANT, "--port", str(port)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)
        assert server.stdout is not None
        self.assertEqual(server.stdout.readline(), f"open {self.origin}/\n")
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.profile = folder.name

    def open(self) -> browser.Browser:
        opened = browser.Browser(self.profile, self.origin)
        self.addCleanup(opened.kill)
        return opened

    def append(self, count: int) -> None:
        for n in range(count):
            self.client.append({"text": TEXT, "n": n}, tenant=tools.TENANT)

    def shows(self, opened: browser.Browser) -> None:
        """Waits until the page shows the list: how many changes, and the newest."""
        ids = [change.id for change in self.listed()]
        script = "[+count.textContent, [...newest.rows].map((row) => +row.cells[0].textContent)]"
        wanted = [len(ids), ids[::-1][:20]]
        try:
            self.eventually("the page shows the list", lambda: opened.value(script) == wanted)
        except AssertionError as error:
            raise AssertionError(f"it shows {opened.value(script)}, not {wanted}: {opened.value('document.body.innerText')}") from error

    def test_a_page_shows_each_change_once(self) -> None:
        self.append(30)
        opened = self.open()
        self.shows(opened)
        self.assertIn(TEXT, opened.value("newest.rows[0].cells[2].textContent"))
        self.append(3)
        self.shows(opened)
        stored = self.listed()[-1]
        position = opened.value(f"JSON.parse(localStorage['changeagent {tools.TENANT}']).position")
        self.assertEqual(position, str(stored.position))

        opened.value("window.before = true, location.reload()")
        self.eventually("the page is loaded anew", lambda: opened.value("window.before") is None)
        self.append(2)
        self.shows(opened)
        self.assertEqual(self.first_since(opened), stored.id)

        stored = self.listed()[-1]
        opened.close()
        self.append(4)
        self.node.restart()
        opened = self.open()
        self.shows(opened)
        self.assertEqual(self.first_since(opened), stored.id)

        # What Chromium had not yet written to the disk is lost, of the count and of the position alike.
        self.append(1)
        self.shows(opened)
        opened.kill()
        self.append(1)
        self.shows(self.open())

    def first_since(self, opened: browser.Browser) -> int:
        """Where the page began to read when it was loaded."""
        names = opened.value("performance.getEntriesByType('resource').map(({ name }) => name)")
        asked = next(name for name in names if "/changes?" in name)
        return int(parse_qs(urlsplit(asked).query)["since"][0])


if __name__ == "__main__":
    unittest.main()
