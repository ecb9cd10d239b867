"""HTTP/1.1 as bytes: requests written, answers read piece by piece. No I/O."""

from __future__ import annotations

from .errors import BrokenAnswer

HEAD_BYTES_MAX = 64 * 1024
#: Longer than any line that says how long a chunk is.
CHUNK_LINE_BYTES_MAX = 4096


def request(
    method: str, host: str, target: str, headers: dict[str, str], body: bytes | None
) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body or b'')}")
    for line in lines:
        if not line.isascii() or not line.isprintable():
            raise ValueError(f"not to be sent in a request's head: {line!r}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + (body or b"")


class Answer:
    """Takes the bytes of one answer and gives its head and its body.

    Only an answer that tells its end (by a length or by chunks) can be known to
    be whole, so no other is taken.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        #: The head is complete.
        self.has_head = False
        #: The body is complete.
        self.done = False
        self.keep_alive = True
        self.started = False
        self._raw = bytearray()
        self._body = bytearray()
        #: Bytes of the body, or of this chunk, that are still to come.
        self._left = 0
        self._chunked = False
        self._state = "head"

    def feed(self, data: bytes) -> None:
        """Takes what came; nothing is the end of the connection."""
        if not data:
            raise BrokenAnswer("the connection ended in the middle of an answer")
        self.started = True
        self._raw += data
        while not self.done and self._step():
            pass
        if self.done and self._raw:
            # Nothing was asked for: whoever sent it is not to be asked again.
            self.keep_alive = False

    def take(self) -> bytes:
        """The bytes of the body that have come since the last call."""
        body = bytes(self._body)
        self._body.clear()
        return body

    def _step(self) -> bool:
        """Whether there may be more to do with what is here."""
        if self._state == "head":
            end = self._raw.find(b"\r\n\r\n")
            if end < 0:
                if len(self._raw) > HEAD_BYTES_MAX:
                    raise BrokenAnswer("the head of an answer is too long")
                return False
            self._read_head(bytes(self._raw[:end]))
            del self._raw[: end + 4]
            return True
        if self._state == "bytes":
            taken = min(self._left, len(self._raw))
            self._body += self._raw[:taken]
            del self._raw[:taken]
            self._left -= taken
            if self._left > 0:
                return False
            if self._chunked:
                self._state = "after chunk"
            else:
                self.done = True
            return True
        return self._read_line()

    def _read_line(self) -> bool:
        end = self._raw.find(b"\r\n")
        if end < 0:
            if len(self._raw) > CHUNK_LINE_BYTES_MAX:
                raise BrokenAnswer("a chunk without a length")
            return False
        line = bytes(self._raw[:end])
        del self._raw[: end + 2]
        if self._state == "after chunk":
            if line:
                raise BrokenAnswer("a chunk is longer than it said")
            self._state = "chunk"
        elif self._state == "chunk":
            digits = line.split(b";")[0].strip()
            if not digits or digits.strip(b"0123456789abcdefABCDEF") or len(digits) > 15:
                raise BrokenAnswer("a chunk without a length")
            self._left = int(digits, 16)
            self._state = "bytes" if self._left else "trailer"
        elif not line:
            self.done = True
        return True

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        parts = first.split(" ", 2)
        if len(parts) < 2 or parts[0] not in ("HTTP/1.1", "HTTP/1.0"):
            raise BrokenAnswer("not an answer of HTTP/1.1")
        if len(parts[1]) != 3 or not (parts[1].isascii() and parts[1].isdigit()):
            raise BrokenAnswer("an answer without a status")
        self.status = int(parts[1])
        if 100 <= self.status < 200:
            if self.status == 101:
                raise BrokenAnswer("another protocol than HTTP")
            return
        self.headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise BrokenAnswer("a line of a head without a colon")
            self.headers[name.strip().lower()] = value.strip()
        connection = self.headers.get("connection", "").lower()
        self.keep_alive = parts[0] == "HTTP/1.1" and "close" not in connection
        self.has_head = True
        self._frame()

    def _frame(self) -> None:
        length = self.headers.get("content-length")
        if self.status in (204, 304):
            self.done = True
        elif self.headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunked = True
            self._state = "chunk"
        elif length is not None and length.isascii() and length.isdigit() and len(length) < 16:
            self._left = int(length)
            self._state = "bytes"
        else:
            raise BrokenAnswer("an answer that does not tell where it ends")
