"""One direction of an HTTP/1.1 connection, cut into messages.

Bodies are given whole and without chunks; what ends with the connection is given by `end`.

Specifications: RFC 9112 sections 6 and 7.
"""

from __future__ import annotations

import re

import msgspec

from phonesim.errors import DecodeError

MOST_OCTETS = 1024 * 1024
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*(\d{1,9})[ \t]*\r?$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:.*\bchunked[ \t]*\r?$")
_ANSWER = re.compile(rb"HTTP/1\.[01] (\d{3})")
_REQUEST = re.compile(rb"[A-Z]{3,10} [!-~]{1,8000} HTTP/1\.[01]\r?$", re.MULTILINE)


class HttpMessage(msgspec.Struct, frozen=True, gc=False):
    """A request (`status` 0) or an answer: its first line, its headers in order, its body."""

    first: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    status: int = 0

    def header(self, name: str) -> str:
        """The first value of a header, by case-insensitive name; "" without one."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), "")

    def values(self, name: str) -> list[str]:
        """All values of a header."""
        wanted = name.lower()
        return [value for key, value in self.headers if key.lower() == wanted]


def decode_http(octets: bytes) -> HttpMessage:
    """Read one whole message; DecodeError if it is none."""
    head, found, body = octets.partition(b"\r\n\r\n")
    return _message(head if found else octets, body)


class HttpStream:
    """Takes the octets of one direction as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: bytes | None = None

    def feed(self, octets: bytes) -> list[HttpMessage]:
        """Take octets, return the messages that they complete; DecodeError if they are no HTTP."""
        self._buffer += octets
        if len(self._buffer) > MOST_OCTETS:
            self._buffer.clear()
            raise DecodeError(f"HTTP: a message of more than {MOST_OCTETS} octets")
        messages: list[HttpMessage] = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages

    def end(self) -> list[HttpMessage]:
        """The connection has ended: an answer without a length ends here."""
        head, self._head = self._head, None
        if head is None:
            return []
        return [_message(head, bytes(self._buffer))]

    def _next(self) -> HttpMessage | None:
        buffer = self._buffer
        if self._head is None:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            self._head = bytes(buffer[:end])
            del buffer[: end + 4]
        head = self._head
        status = _ANSWER.match(head)
        if _CHUNKED.search(head):
            chunks = _chunks(buffer)
            if chunks is None:
                return None
            body, size = chunks
        else:
            length = _LENGTH.search(head)
            if length is not None:
                size = int(length[1])
            elif status is None or status[1][:1] == b"1" or status[1] in (b"204", b"304"):
                size = 0
            else:
                return None
            if len(buffer) < size:
                return None
            body = bytes(buffer[:size])
        del buffer[:size]
        self._head = None
        return _message(head, body)


def _chunks(buffer: bytearray) -> tuple[bytes, int] | None:
    """The body of chunks at the buffer's begin and their size, None before the last one."""
    parts: list[bytes] = []
    at = 0
    while True:
        end = buffer.find(b"\r\n", at)
        if end < 0:
            return None
        text = bytes(buffer[at:end]).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,6}", text):
            raise DecodeError("HTTP: a chunk without a size")
        size = int(text, 16)
        at = end + 2
        if size == 0:
            end = buffer.find(b"\r\n", at)
            while end > at:  # trailers
                at = end + 2
                end = buffer.find(b"\r\n", at)
            return None if end < 0 else (b"".join(parts), end + 2)
        if len(buffer) < at + size + 2:
            return None
        parts.append(bytes(buffer[at : at + size]))
        at += size + 2


def _message(head: bytes, body: bytes) -> HttpMessage:
    answer = _ANSWER.match(head)
    if answer is None and not _REQUEST.match(head):
        raise DecodeError("HTTP: the first line is none of a request or an answer")
    first, *lines = head.decode("utf-8", "replace").split("\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(":")
        headers.append((name.strip(), value.strip()))
    return HttpMessage(first, tuple(headers), body, 0 if answer is None else int(answer[1]))
