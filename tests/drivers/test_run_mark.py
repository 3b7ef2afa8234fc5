import random
import subprocess
import sys

import pytest

from phonesim.drivers.run_mark import (
    NUMBERS,
    number_of_name,
    number_of_table,
    take_mark,
    take_number,
)
from phonesim.errors import UsageError


@pytest.fixture
def number() -> int:
    """One that no other run of these tests on this machine is likely to use."""
    return random.SystemRandom().randrange(20, 98)


def test_a_number_is_held_by_one_run_until_it_lets_go(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonesim.drivers.run_mark.NUMBERS", range(number, 100))
    first, second = take_mark(), take_mark()
    assert (first.number, second.number) == (number, number + 1)
    assert take_number(number) is None
    first.release()
    again = take_mark()
    assert again.number == number
    again.release()
    second.release()


def test_a_number_is_free_when_its_process_was_killed(number: int) -> None:
    script = f"from phonesim.drivers.run_mark import take_number; m = take_number({number})"
    script += "; print(m.label, flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == f"phonesim:{number}\n"
    assert take_number(number) is None
    holder.kill()
    holder.communicate()
    mark = take_number(number)
    assert mark is not None
    mark.release()


def test_the_user_is_told_when_there_are_too_many_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phonesim.drivers.run_mark.NUMBERS", range(1, 1))
    with pytest.raises(UsageError, match="end one of them"):
        take_mark()


def test_the_longest_label_fits_where_an_interface_name_does() -> None:
    mark = take_number(NUMBERS[-1])
    assert mark is not None
    mark.release()
    assert len(mark.label) < 16
    assert number_of_name(mark.label) == number_of_name(mark.filter_table) == mark.number
    assert number_of_table(mark.routing_table) == mark.number


@pytest.mark.parametrize(
    "name", ["", "eth0", "eth0:1", "phonesim:0", "phonesim:100", "phonesim_x", "my_phonesim_1"]
)
def test_what_others_made_bears_no_mark(name: str) -> None:
    assert number_of_name(name) is None


@pytest.mark.parametrize("table", [0, 254, 6800, 6900])
def test_tables_of_others_bear_no_mark(table: int) -> None:
    assert number_of_table(table) is None
