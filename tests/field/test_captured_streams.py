"""TCP connections in a capture: order, loss, refusal, bounds."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from phonesim.field.captures.captured_streams import (
    MOST_CONNECTIONS,
    MOST_WAITING,
    Segment,
    StreamEvent,
    Streams,
)
from phonesim.wire.tcp_frame import ACK, FIN, RST, SYN

PHONE, SERVER = ("10.0.0.7", 50000), ("10.0.0.1", 443)


class Talk:
    def __init__(self) -> None:
        self.streams = Streams()

    def take(
        self,
        flags: int,
        sequence: int = 0,
        octets: bytes = b"",
        *,
        sent: bool = True,
        port: int = 0,
    ) -> list[StreamEvent]:
        phone = (PHONE[0], PHONE[1] + port)
        ends = (phone, SERVER) if sent else (SERVER, phone)
        return self.streams.take(Segment(*ends, sequence, flags, octets), phone_is_source=sent)

    def kinds(self, *arguments: object, **more: object) -> list[str]:
        return [event.kind for event in self.take(*arguments, **more)]  # type: ignore[arg-type]

    def opened(self, begin: int = 99) -> Talk:
        assert self.kinds(SYN, begin) == ["opening"]
        assert self.kinds(SYN | ACK, 5, sent=False) == ["opened"]
        return self


def test_a_connection_from_its_begin_to_its_end() -> None:
    talk = Talk().opened()
    [event] = talk.take(ACK, 100, b"hello")
    assert (event.kind, event.by_client, event.octets) == ("octets", True, b"hello")
    [answer] = talk.take(ACK, 6, b"hi", sent=False)
    assert (answer.by_client, answer.octets) == (False, b"hi")
    assert talk.kinds(ACK, 105) == []
    assert talk.kinds(FIN | ACK, 8, sent=False) == ["ended"]
    assert talk.kinds(ACK, 105, b"too late") == []
    assert talk.kinds(SYN, 7777) == ["opening"]


def test_a_refused_and_a_repeated_one() -> None:
    talk = Talk()
    assert talk.kinds(SYN, 1) == ["opening"]
    assert talk.kinds(SYN, 1) == ["repeated"]
    assert talk.kinds(RST | ACK, 0, sent=False) == ["refused"]
    talk.opened()
    assert talk.kinds(RST, 6, sent=False) == ["reset"]


@given(
    st.binary(min_size=1, max_size=300),
    st.integers(1, 30),
    st.randoms(),
    st.sampled_from([100, 2**32 - 150]),
)
def test_octets_come_in_order_once_whatever_the_network_does(
    octets: bytes, size: int, rng: random.Random, begin: int
) -> None:
    parts = [(at, octets[at : at + size]) for at in range(0, len(octets), size)]
    parts += rng.choices(parts, k=3)  # repeated
    rng.shuffle(parts)
    if len(parts) > MOST_WAITING:
        return
    talk = Talk().opened(begin - 1)
    found = b"".join(
        event.octets for at, part in parts for event in talk.take(ACK, (begin + at) % 2**32, part)
    )
    assert found == octets
    assert talk.streams.given_up == 0


def test_a_repetition_may_have_more_behind_it() -> None:
    talk = Talk().opened()
    talk.take(ACK, 100, b"hello")
    [event] = talk.take(ACK, 103, b"lo world")
    assert event.octets == b" world"


def test_a_direction_that_lacks_octets_is_given_up() -> None:
    talk = Talk().opened()
    for number in range(MOST_WAITING + 1):
        assert talk.take(ACK, 200 + 10 * number, b"0123456789") == []
    assert talk.streams.given_up == 1
    assert talk.take(ACK, 100, b"found again") == []
    assert talk.kinds(ACK, 6, b"answer", sent=False) == ["octets"]


def test_a_connection_that_began_before_the_capture() -> None:
    talk = Talk()
    assert talk.kinds(SYN | ACK, 5, sent=False) == []
    assert talk.kinds(ACK, 5, sent=False) == []
    assert talk.kinds(ACK, 1000, b"middle") == ["octets"]
    assert Talk().kinds(FIN | ACK, 5, sent=False) == ["ended"]


def test_there_are_only_so_many_at_once() -> None:
    talk = Talk()
    for number in range(MOST_CONNECTIONS + 2):
        assert talk.kinds(SYN, 1, port=number - 20000) == ["opening"]
    assert talk.streams.given_up == 2
