"""A boot's log, told."""

import pytest

from phonesim.device import device_log as log
from phonesim.device.device_log import KINDS, LogLine, LogRecord
from phonesim.field.timeline import DISPLAY, MOST_TOLD, Step, displays, tell, to_json


def lines(*records: LogRecord) -> list[LogLine]:
    return [
        LogLine(clock=1000.0 + number, tick=number * 1000, zone="INFO", record=record)
        for number, record in enumerate(records)
    ]


def discover(attempt: int = 1) -> LogRecord:
    return log.DHCP_SENT(
        "DISCOVER", 7, 0, "0.0.0.0", "255.255.255.255", "CPE-OCPHONE", "1,3", attempt
    )


def test_who_sent_what_and_what_was_shown() -> None:
    steps = tell(
        lines(
            log.DISPLAY("Acquiring IP Address"),
            log.DHCP_STATE("INIT", "SELECTING"),
            discover(),
            log.DHCP_RECEIVED("OFFER", 7, "10.0.0.1", "10.0.0.1", "10.0.0.9", "53,54"),
            log.OPTION_MISSING("10.0.0.1", 43),
        )
    )
    assert [(step.at, step.who, step.told) for step in steps] == [
        (0, DISPLAY, '"Acquiring IP Address"'),
        (2, "-> 255.255.255.255", "DHCP DISCOVER of class CPE-OCPHONE"),
        (3, "<- 10.0.0.1", "DHCP OFFER, options 53,54"),
        (4, "", "option 43 of 10.0.0.1 is missing"),
    ]


def test_what_repeats_itself_is_told_once() -> None:
    steps = tell(lines(discover(1), discover(2), discover(3), log.DHCP_NO_ANSWER("DISCOVER", 3)))
    assert [(step.at, step.told) for step in steps] == [
        (0, "DHCP DISCOVER of class CPE-OCPHONE (3 times)"),
        (3, "no answer to DHCP DISCOVER, asked 3 times"),
    ]


def test_the_story_ends_where_the_run_does() -> None:
    steps = tell(lines(discover(), log.SHUTDOWN(), discover(2)))
    assert [step.times for step in steps] == [1]


def test_of_a_long_story_beginning_and_end_are_told() -> None:
    steps = tell(lines(*(log.OPTION_MISSING("10.0.0.1", number) for number in range(200))))
    assert len(steps) == MOST_TOLD + 1
    assert steps[0].text == "option 0 of 10.0.0.1 is missing"
    assert steps[-1].text == "option 199 of 10.0.0.1 is missing"
    assert [step.text for step in steps if "more steps" in step.text] == [
        f"({200 - MOST_TOLD} more steps: see the log)"
    ]


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_every_record_can_be_told_or_left_out(kind: log.RecordKind) -> None:
    values = {log.TOKEN: "x", log.TEXT: "y", log.NUMBER: 3, log.XID: 4, log.SECONDS: 1.5}
    for blank in (False, True):
        record = kind(
            *(
                "" if blank and isinstance(values[field], str) else values[field]
                for field in kind.fields.values()
            )
        )
        for step in tell(lines(record)):
            assert "{" not in step.text
            assert not step.text.endswith(("; ", ", "))


def test_all_that_was_shown_in_order() -> None:
    shown = displays(lines(log.DISPLAY("one"), discover(), log.DISPLAY("two")))
    assert shown == ["one", "two"]


def test_steps_for_programs() -> None:
    steps = [Step(at=0.12345, who="-> x", text="said", times=2)]
    assert to_json(steps) == [{"at": 0.123, "who": "-> x", "text": "said", "times": 2}]
