"""One direction of HTTP, cut into messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.errors import DecodeError
from phonesim.wire.http_stream import MOST_OCTETS, HttpStream, decode_http

REQUEST = b"POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=1\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: t\r\n\r\n"
)
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nX: 1\r\nX: 2\r\n\r\n"


@given(st.integers(0, len(REQUEST + CHUNKED)))
def test_pieces_do_not_matter(cut: int) -> None:
    octets = CHUNKED + NOT_FOUND
    stream = HttpStream()
    chunked, refused = stream.feed(octets[:cut]) + stream.feed(octets[cut:])
    assert (chunked.status, chunked.body) == (200, b"abc0123456789abcdef")
    assert (refused.status, refused.body, refused.values("x")) == (404, b"", ["1", "2"])


def test_a_request() -> None:
    [message] = HttpStream().feed(REQUEST)
    assert (message.status, message.first, message.body) == (0, "POST /a HTTP/1.1", b"hello")
    assert (message.header("HOST"), message.header("none")) == ("web", "")
    assert decode_http(REQUEST) == message


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    stream = HttpStream()
    assert stream.feed(b"HTTP/1.0 200 OK\r\n\r\nall ") == []
    assert stream.feed(b"of it") == []
    [message] = stream.end()
    assert (message.status, message.body) == (200, b"all of it")
    assert stream.end() == []


@pytest.mark.parametrize("status", [b"100 Continue", b"204 No Content", b"304 Not Modified"])
def test_answers_that_have_no_body(status: bytes) -> None:
    [message] = HttpStream().feed(b"HTTP/1.1 " + status + b"\r\n\r\n")
    assert message.body == b""


@pytest.mark.parametrize(
    "octets",
    [
        b"hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        bytes(MOST_OCTETS + 1),
    ],
)
def test_what_is_no_http_is_refused(octets: bytes) -> None:
    with pytest.raises(DecodeError, match="HTTP"):
        HttpStream().feed(octets)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_octets_are_messages_or_no_http(pieces: list[bytes]) -> None:
    stream = HttpStream()
    try:
        for piece in pieces:
            stream.feed(piece)
        stream.end()
    except DecodeError:
        pass
