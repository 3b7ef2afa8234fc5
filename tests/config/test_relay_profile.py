"""Relay agents that could not work are refused where they are written."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from phonesim.config.relay_profile import Relay


def relay(**values: object) -> Relay:
    given = {"servers": ["10.0.0.1"], "giaddrs": ["10.1.0.1", "10.2.0.1"], **values}
    return Relay.model_validate(given)


def test_a_link_is_an_address_or_a_mapping() -> None:
    made = relay(giaddrs=["10.1.0.1", {"giaddr": "10.2.0.1", "link": "hq", "twin": "10.2.0.2"}])
    assert [link.name for link in made.giaddrs] == ["10.1.0.1", "hq"]
    assert [str(agent) for agent in made.agents] == ["10.1.0.1", "10.2.0.1", "10.2.0.2"]


def test_one_request_becomes_as_many_datagrams_as_agents_copies_and_servers() -> None:
    twins = [{"giaddr": "10.1.0.1", "twin": "10.1.0.2"}, "10.2.0.1"]
    made = relay(servers=["10.0.0.1", "10.0.0.2", "10.0.0.3"], copies=2, giaddrs=twins)
    assert relay().fan_out == 1
    assert made.fan_out == 12


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"giaddrs": ["10.1.0.1", "10.1.0.1"]}, "giaddr 10.1.0.1 is there twice"),
        ({"giaddrs": [{"giaddr": "10.1.0.1", "twin": "10.1.0.1"}]}, "10.1.0.1 is there twice"),
        (
            {"giaddrs": [{"giaddr": "10.1.0.1", "link": "a"}, {"giaddr": "10.2.0.1", "link": "a"}]},
            "link a is there twice",
        ),
        ({"servers": ["10.0.0.1", "10.0.0.1"]}, "server 10.0.0.1 is there twice"),
        ({"servers": ["127.0.0.1"]}, "loopback addresses and others"),
        ({"servers": ["255.255.255.255"]}, "is not the address of a host"),
        ({"giaddrs": ["0.0.0.0"]}, "0.0.0.0 is not the address of a host"),
        ({"giaddrs": ["224.0.0.1"]}, "is not the address of a host"),
        ({"servers": []}, "at least 1"),
        ({"giaddrs": []}, "at least 1"),
        ({"copies": 0}, "greater than or equal to 1"),
    ],
)
def test_agents_that_could_not_work_are_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        relay(**values)


def test_an_editor_is_told_of_both_ways_to_write_a_link() -> None:
    items = Relay.model_json_schema()["properties"]["giaddrs"]["items"]
    assert {"type": "string", "format": "ipv4"} in items["anyOf"]
