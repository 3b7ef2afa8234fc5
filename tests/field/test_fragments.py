"""Fragments, put together within bounds."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from phonesim.field.captures.fragments import MOST_DATAGRAMS, Fragments

KEY = (b"\x0a\0\0\1", b"\x0a\0\0\2", 7)
MORE = 0x2000


def cut(whole: bytes, size: int) -> list[tuple[int, bytes]]:
    parts = [(at, whole[at : at + size]) for at in range(0, len(whole), size)]
    return [(at // 8 | (MORE if at + len(part) < len(whole) else 0), part) for at, part in parts]


@given(st.binary(min_size=1, max_size=4000), st.integers(1, 40), st.randoms())
def test_in_any_order_they_make_the_whole(whole: bytes, eights: int, rng: random.Random) -> None:
    parts = cut(whole, 8 * eights)
    rng.shuffle(parts)
    fragments = Fragments()
    made = [fragments.take(KEY, flags, octets) for flags, octets in parts]
    assert made == [None] * (len(parts) - 1) + [whole]
    assert fragments.unfinished() == 0


def test_a_fragment_that_comes_twice_counts_once() -> None:
    fragments = Fragments()
    assert fragments.take(KEY, MORE, b"12345678") is None
    assert fragments.take(KEY, MORE, b"12345678") is None
    assert fragments.take(KEY, 1, b"9") == b"123456789"


def test_what_never_comes_together_is_counted_and_bounded() -> None:
    fragments = Fragments()
    for number in range(MOST_DATAGRAMS + 3):
        assert fragments.take((*KEY[:2], number), MORE, b"12345678") is None
    assert fragments.given_up == 3
    assert fragments.unfinished() == MOST_DATAGRAMS + 3


def test_fragments_that_overlap_or_reach_too_far_make_nothing() -> None:
    fragments = Fragments()
    assert fragments.take(KEY, 0x1FFF, bytes(100)) is None
    assert fragments.unfinished() == 0
    fragments.take(KEY, MORE, bytes(16))
    assert fragments.take(KEY, 1, bytes(8)) is None  # 8 octets are there twice
    assert fragments.unfinished() == 1
