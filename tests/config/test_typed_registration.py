import pytest
from pydantic import ValidationError

from phonesim.config.typed_registration import TypedRegistrar, TypedRegistration


@pytest.mark.parametrize(
    ("fields", "port", "is_name"),
    [
        ({"host": "sip.x.com"}, 5061, True),
        ({"host": "sip.x.com", "transport": "tcp"}, 5060, True),
        ({"host": "10.77.0.11", "port": 7061}, 7061, False),
        ({"host": "10.77.0.256"}, 5061, True),
    ],
)
def test_a_registrar_has_a_port_and_perhaps_a_name(
    fields: dict[str, object], port: int, is_name: bool
) -> None:
    registrar = TypedRegistrar.model_validate(fields)
    assert (registrar.port_number, registrar.is_name) == (port, is_name)


def test_one_registrar_is_enough_to_need_dns_or_trust() -> None:
    plain = TypedRegistrar(host="10.77.0.11", transport="tcp")
    named = TypedRegistrar(host="sip.x.com")
    both = TypedRegistration(registrars=(plain, named))
    alone = TypedRegistration(registrars=(plain,))
    assert (both.asks_dns, both.needs_trust) == (True, True)
    assert (alone.asks_dns, alone.needs_trust) == (False, False)


@pytest.mark.parametrize("sip_uri", ["user{n}@x.com", "sips:user@x.com", "sip:@x.com", "sip:user@"])
def test_users_are_sip_uris(sip_uri: str) -> None:
    registrar = TypedRegistrar(host="10.77.0.11")
    with pytest.raises(ValidationError, match="should be like"):
        TypedRegistration(registrars=(registrar,), sip_uri=sip_uri)
