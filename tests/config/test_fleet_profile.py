import pytest
from pydantic import ValidationError

from phonesim.config.fleet_profile import FixedAddresses, FleetProfile


def addresses(**changes: object) -> FixedAddresses:
    values = {"first": "10.77.40.1", "count": 9, "dns_servers": ["10.77.0.2"], "domain": "x.com"}
    return FixedAddresses.model_validate({**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"count": 254, "prefix": 24},
        {"count": 65534, "first": "10.77.0.1", "prefix": 16, "dns_servers": ["10.78.0.2"]},
        {"first": "10.77.40.5", "count": 2, "prefix": 30},
    ],
)
def test_addresses_may_fill_their_network(changes: dict[str, object]) -> None:
    assert addresses(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"count": 255}, "255 addresses from 10.77.40.1 on are not all hosts of one /24"),
        ({"first": "10.77.40.0"}, "not all hosts of one /24"),
        ({"first": "10.77.40.255", "count": 1}, "not all hosts of one /24"),
        ({"router": "10.77.40.9"}, "10.77.40.9 is one of the phones' addresses"),
        ({"dns_servers": ["10.77.0.2", "10.77.40.1"]}, "10.77.40.1 is one of the phones'"),
        ({"domain": "two words"}, "domain"),
        ({"prefix": 31}, "prefix"),
    ],
)
def test_what_no_phones_can_have_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        addresses(**changes)


@pytest.mark.parametrize(
    "shape",
    [
        {"kind": "sawtooth"},
        {"kind": "ramp", "end": 0, "seconds": 5},
        {"kind": "ramp", "end": 5, "seconds": 0},
        {"kind": "steps", "steps": []},
        {"kind": "steps", "steps": [{"rate": 0, "seconds": 1}]},
        {"kind": "switches", "ports": 0},
        {"kind": "switches", "stagger": float("inf")},
        {"ports": 48},
    ],
)
def test_a_shape_that_starts_no_phones_is_refused(shape: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="shape"):
        FleetProfile.model_validate({"name": "f", "shape": shape})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"boots": 0}, "boots"),
        ({"boots": []}, "boots"),
        ({"boots": ["lukewarm"]}, "boots"),
        ({"boots": ["sign-out"]}, "nobody has signed in yet"),
        ({"boots": ["warm"]}, "only with phones_from"),
        ({"boots": ["cold", "sign-out"], "stages": ["ip"]}, "are for whole boots"),
    ],
)
def test_boots_that_cannot_follow_each_other_are_refused(
    fields: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        FleetProfile.model_validate({"name": "f", **fields})


def test_phones_of_an_earlier_run_may_begin_warm() -> None:
    fields = {"name": "f", "boots": ["warm", "factory-reset"], "phones_from": "earlier"}
    assert FleetProfile.model_validate(fields).boots == ("warm", "factory-reset")


REGISTERING = {
    "name": "f",
    "stages": ["register"],
    "registration": {"registrars": [{"host": "10.77.0.11"}]},
    "addresses": {"first": "10.77.40.1", "count": 9},
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"addresses": None},
        {"addresses": None, "registration": {"registrars": [{"host": "sip.x.com"}]}},
        {"repeat_every": 5, "until": "1m"},
    ],
)
def test_a_fleet_may_only_register(changes: dict[str, object]) -> None:
    assert FleetProfile.model_validate({**REGISTERING, **changes}).stages == ("register",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"registration": None}, "stages .register. need registration"),
        ({"registration": {"registrars": []}}, "registrars"),
        ({"stages": ["ip"], "addresses": None}, "registration is for stages .register."),
        (
            {"registration": {"registrars": [{"host": "sip.x.com"}]}},
            "registration.registrars are named: give addresses.dns_servers",
        ),
        (
            {"registration": {"registrars": [{"host": "10.77.0.11"}], "sip_uri": "user{n}"}},
            "should be like",
        ),
    ],
)
def test_a_fleet_that_could_not_register_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FleetProfile.model_validate({**REGISTERING, **changes})
