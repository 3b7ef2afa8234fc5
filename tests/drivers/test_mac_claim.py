import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from phonesim.drivers.mac_claim import MacClaim
from phonesim.errors import UsageError

POLYCOM, AASTRA = 0x0004F2, 0x00085D
# Claims are the whole machine's, and tests run in several processes.
ONE, OTHER = (f"claim{os.getpid()}-{number}" for number in range(2))


def macs(first: int, last: int, vendor: int = POLYCOM) -> list[bytes]:
    return [(vendor << 24 | number).to_bytes(6, "big") for number in range(first, last + 1)]


@pytest.fixture
def claim() -> Iterator[Any]:
    with ExitStack() as stack:

        def make(*ranges: list[bytes], interface: str = ONE) -> MacClaim:
            made = MacClaim(interface, [mac for each in ranges for mac in each])
            stack.callback(made.release)
            return made

        yield make


@pytest.mark.parametrize("others", [(1, 25), (25, 30), (10, 12), (1, 100)])
def test_who_has_one_of_the_macs_is_named(claim: Any, others: tuple[int, int]) -> None:
    claim(macs(1, 25), macs(5, 9, AASTRA))
    with pytest.raises(UsageError) as raised:
        claim(macs(*others))
    assert str(raised.value) == (
        f"interface {ONE}: another run on this machine has the MACs 00-04-F2-00-00-01 to "
        "00-04-F2-00-00-19: end it, or give this fleet others (first_phone)"
    )


def test_a_refused_claim_claims_nothing(claim: Any) -> None:
    claim(macs(1, 25))
    with pytest.raises(UsageError):
        claim(macs(20, 40), macs(1, 5, AASTRA))
    claim(macs(26, 40), macs(1, 5, AASTRA))


def test_other_macs_and_other_interfaces_do_not_matter(claim: Any) -> None:
    claim(macs(1, 25))
    claim(macs(26, 50))
    claim(macs(1, 25, AASTRA))
    claim(macs(1, 25), interface=OTHER)


def test_a_released_claim_is_free(claim: Any) -> None:
    claim(macs(1, 25)).release()
    claim(macs(1, 25))
