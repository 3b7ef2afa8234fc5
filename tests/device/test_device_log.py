from __future__ import annotations

import datetime
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonesim.config.device_profile import LogRecordText
from phonesim.device import device_log
from phonesim.device.device_log import (
    KINDS,
    NUMBER,
    SECONDS,
    TEXT,
    TOKEN,
    XID,
    Dialect,
    LogLine,
    LogRecord,
)
from phonesim.errors import DecodeError, ProfileError
from phonesim.profiles import DEVICE, load, names

SHIPPED = {name: load(DEVICE, name) for name in names(DEVICE)}
RECORDS = SHIPPED["polycom-cx600"].log.records
CLOCK = datetime.datetime(2026, 1, 5, 7, 0, 1, 250_000, tzinfo=datetime.UTC).timestamp()

DIALECTS = {name: Dialect(profile.log.records) for name, profile in SHIPPED.items()}
DIALECT = DIALECTS["polycom-cx600"]


def one_line(record, clock=CLOCK, tick=204, dialect=DIALECT):
    return dialect.format([record], clock, tick)


# --- what is written is read back ---

# Any text that Python can hold, and often the characters that a dialect lives on.
texts = st.text(st.characters() | st.sampled_from(' "%|-,:>\\\r\n\t\0\x7f\u00e9\u20ac\ud800{}'))
VALUES = {
    TOKEN: texts,
    TEXT: texts,
    NUMBER: st.integers(-(10**15), 10**15),
    XID: st.integers(0, 0xFFFFFFFF),
    SECONDS: st.floats(-1e12, 1e12).map(lambda value: round(value, 3)),
}


@st.composite
def log_records(draw):
    kind = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    return kind(*(draw(VALUES[field]) for field in kind.fields.values()))


# NTP can set a clock from 1968 to 2104.
clocks = st.floats(-6.3e7, 4.2e9)
ticks = st.integers(0, 10**12)


@pytest.mark.parametrize("name", SHIPPED)
@given(log_records(), clocks, ticks)
def test_every_record_of_every_shipped_dialect_is_read_back(name, record, clock, tick):
    dialect = DIALECTS[name]
    line = dialect.format([record], clock, tick)
    read = dialect.parse(line)
    assert read.record == record
    assert read.tick == tick
    assert read.zone == SHIPPED[name].log.records[record.name].zone
    assert 0 <= clock - read.clock < 0.0011
    assert dialect.format([read.record], read.clock + 0.0005, read.tick) == line


@given(st.lists(log_records(), min_size=1, max_size=5), clocks, ticks)
def test_lines_are_printable_ascii_and_end_in_crlf(records, clock, tick):
    text = DIALECT.format(records, clock, tick)
    lines = text.split("\r\n")
    assert lines.pop() == ""
    assert len(lines) == len(records)
    for line, record in zip(lines, records, strict=True):
        assert re.fullmatch(r"[ -~]+", line)
        assert DIALECT.parse(line + "\r\n").record == record
        assert DIALECT.parse(line).record == record


@given(log_records(), st.randoms(use_true_random=False))
def test_a_record_is_read_back_from_a_text_whose_fields_are_in_another_order(record, rng):
    kind = KINDS[record.name]
    order = list(kind.fields)
    rng.shuffle(order)
    text = "Turned around " + " and ".join(f"{{{field}}}" for field in order)
    dialect = Dialect(dict(RECORDS) | {kind.name: LogRecordText(zone="INFO", text=text)})
    assert dialect.parse(one_line(record, dialect=dialect)).record == record


# --- the line ---


def test_a_line_has_time_tick_zone_and_text():
    record = device_log.DHCP_STATE("SELECTING", "REQUESTING")
    line = "01/05/2026 07:00:01.250|0000000204|FUNCTION|DHCP state SELECTING -> REQUESTING\r\n"
    assert one_line(record) == line
    assert DIALECT.parse(line) == LogLine(clock=CLOCK, tick=204, zone="FUNCTION", record=record)


def test_a_short_zone_is_padded():
    assert "|INFO    |Cache empty" in one_line(device_log.CACHE_EMPTY())


@pytest.mark.parametrize(
    ("clock", "shown"),
    [
        (0.0, "01/01/1970 00:00:00.000"),
        (0.9999, "01/01/1970 00:00:00.999"),
        (-0.25, "12/31/1969 23:59:59.750"),
        (-31_536_000.0, "01/01/1969 00:00:00.000"),
        (4_102_444_799.5, "12/31/2099 23:59:59.500"),
    ],
)
def test_a_clock_is_shown_to_the_millisecond_that_has_passed(clock, shown):
    assert one_line(device_log.CACHE_EMPTY(), clock).startswith(f"{shown}|")


def test_empty_values_are_visible():
    line = one_line(device_log.RACE_WON("", ""))
    assert 'Race won by -: ""' in line


def test_what_could_break_a_line_is_percent_encoded():
    line = one_line(device_log.RACE_WON('a b|"%\u00e9', 'x"y\r\nz%|\u20ac'))
    assert 'Race won by a%20b%7C%22%25%C3%A9: "x%22y%0D%0Az%25|%E2%82%AC"' in line


def test_one_moment_has_one_stamp():
    text = DIALECT.format([device_log.CACHE_EMPTY(), device_log.SHUTDOWN()], CLOCK, 5)
    assert [line.split("|")[:2] for line in text.splitlines()] == [
        ["01/05/2026 07:00:01.250", "0000000005"]
    ] * 2


# --- what is no line ---

GOOD = "01/05/2026 07:00:01.250|0000000204|INFO    |Cache empty"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\r\n",
        "garbage",
        GOOD.replace("Cache", "Cash"),
        GOOD + " ",
        GOOD + "\r\nCache empty",
        GOOD.replace("01/05", "13/05"),
        GOOD.replace("01/05", "02/30"),
        GOOD.replace("2026", "0000"),
        GOOD.replace("07:00", "24:00"),
        GOOD.replace("|0000000204|", "|204|"),
        GOOD.replace("|0000000204|", f"|{'9' * 5000}|"),
        GOOD.replace("|INFO    |", "|info|"),
        GOOD.replace("2026", "\u0662\u0660\u0662\u0666"),
        GOOD.replace("Cache empty", f"Certificate chain received, {'9' * 5000} octets"),
        GOOD.replace("Cache empty", 'Display "\u00e9"'),
        GOOD.replace("Cache empty", 'Display "\udc80%41"'),
        GOOD.replace("Cache empty", 'Display "%FF"'),
        GOOD.replace("Cache empty", 'Display "a" and "b"'),
    ],
    ids=range(19),
)
def test_a_line_that_is_none_raises_decode_error(line):
    with pytest.raises(DecodeError):
        DIALECT.parse(line)


@given(st.text(max_size=200) | st.text(max_size=80).map(lambda text: GOOD[:44] + text))
def test_any_text_is_read_or_refused(text):
    try:
        line = DIALECT.parse(text)
    except DecodeError:
        return
    assert line.record.name in KINDS


@given(log_records(), st.integers(0, 2**32), st.integers(1, 4))
def test_a_damaged_line_is_read_or_refused(record, seed, damages):
    rng = random.Random(seed)
    characters = list(one_line(record))
    for _ in range(damages):
        at = rng.randrange(len(characters))
        characters[at] = rng.choice(["", "%", '"', "|", " ", "9", "\udcff", characters[at] * 2])
    try:
        line = DIALECT.parse("".join(characters))
    except DecodeError:
        return
    assert line.record.name in KINDS


# --- dialects that are none ---


def changed(name="race_won", zone="INFO", text="Race won by {source}: {detail}"):
    return dict(RECORDS) | {name: LogRecordText(zone=zone, text=text)}


def test_the_shipped_dialects_name_every_record():
    for profile in SHIPPED.values():
        assert set(profile.log.records) == set(KINDS)


@pytest.mark.parametrize(
    ("records", "complaint"),
    [
        (changed(text="Race won"), "it names none"),
        (changed(text="Race won by {source}"), "it names source"),
        (changed(text="{source} {detail} {detail}"), "it names source, detail, detail"),
        (changed(text="{source} {detail} {extra}"), "it names source, detail, extra"),
        (changed(text="{source}{detail}"), "a blank is needed between {source} and {detail}"),
        (changed(text="{source}:{detail}"), "a blank is needed between {source} and {detail}"),
        (changed(text="{source}\n{detail}"), "printable ASCII"),
        (changed(text="{source} \u20ac {detail}"), "printable ASCII"),
        (changed(zone="info"), "1 to 8 capital letters"),
        (changed(zone=""), "1 to 8 capital letters"),
        (changed(zone="INFORMATION"), "1 to 8 capital letters"),
        (changed(zone="IN FO"), "1 to 8 capital letters"),
        (changed(zone="\u00c4"), "1 to 8 capital letters"),
        (changed(name="no_such_record", text="x"), "no such record: no_such_record"),
        ({k: v for k, v in RECORDS.items() if k != "shutdown"}, "no text for: shutdown"),
    ],
)
def test_a_malformed_dialect_is_refused_by_name(records, complaint):
    with pytest.raises(ProfileError, match=re.escape(complaint)) as refused:
        Dialect(records)
    assert "log.records" in str(refused.value)


def test_percent_signs_and_braces_around_the_fields_are_plain_text():
    dialect = Dialect(changed(text="100 % {source} (%s) {detail} {}"))
    record = device_log.RACE_WON("dhcp:x", "first")
    line = one_line(record, dialect=dialect)
    assert line.endswith('|100 % dhcp:x (%s) "first" {}\r\n')
    assert dialect.parse(line).record == record


def test_a_record_that_begins_with_a_field_is_read_back():
    dialect = Dialect(changed(text="{source} won: {detail}"))
    record = device_log.RACE_WON("DHCP", "state")
    assert dialect.parse(one_line(record, dialect=dialect)).record == record


def test_a_record_knows_its_kind():
    record = device_log.RACE_WON("dhcp:x", "first")
    assert record == LogRecord("race_won", ("dhcp:x", "first"))
