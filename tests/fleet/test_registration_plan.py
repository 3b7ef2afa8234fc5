from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from phonesim.device.events import RegistrarAddress, RegistrationWanted
from phonesim.device.outcome import Stage
from phonesim.drivers.authority import SiteAuthority
from phonesim.errors import ProfileError
from phonesim.fleet.plan import Plan, read_plan
from phonesim.profiles import parse_override

ADDRESSES = "fleet.addresses={first: 10.77.40.1, count: 9, prefix: 16, dns_servers: [10.77.0.2]}"
REAL = ("fleet.site=none", "fleet.attach=wire", "fleet.interface=eth9", ADDRESSES)
TYPED = ("fleet.registration.sip_uri=sip:a{n}@x.com", "fleet.registration.password=p{n}")
PLAIN = "fleet.registration.registrars=[{host: 10.77.0.11, transport: tcp}]"


def plan_of(*assignments: str) -> Plan:
    settings = ["fleet.phones=3", *assignments]
    return read_plan("register-load", [parse_override(text) for text in settings])


def test_phones_register_users_of_the_site_and_do_nothing_else() -> None:
    specs = plan_of().specs
    assert {(spec.first_stage, spec.last_stage) for spec in specs} == {
        (Stage.REGISTER, Stage.REGISTER)
    }
    assert [(spec.number, spec.pin) for spec in specs[:2]] == [
        ("+142555500001", "8000014"),
        ("+142555500002", "8000024"),
    ]
    first = specs[0]
    assert first.fixed_lease is not None
    assert (first.fixed_lease.address, first.fixed_lease.dns_servers) == (
        "127.20.16.1",
        ("127.20.0.11",),
    )
    assert first.fixed_registration == RegistrationWanted(
        registrars=(
            RegistrarAddress(host="sip.contoso.com", port=5061, transport="tls", source="typed"),
            RegistrarAddress(host="sip.contoso.com", port=5060, transport="tcp", source="typed"),
        ),
        sip_uri="sip:user00001@contoso.com",
        certificate=b"",
        chain=b"",
        source="127.20.16.1",
    )


def test_the_model_has_no_certificate_and_subscribes_to_nothing() -> None:
    config = plan_of().specs[0].profile.registration
    assert (config.authentication, config.provisioning, config.password) == (
        ("digest",),
        False,
        None,
    )
    both = plan_of("device.registration.authentication=[tls-dsk, ntlm, digest]")
    assert both.specs[0].profile.registration.authentication == ("ntlm", "digest")


def test_users_may_be_made_from_templates() -> None:
    plan = plan_of(*REAL, *TYPED, PLAIN, "fleet.registration.first_user=7")
    registered = [spec.fixed_registration for spec in plan.specs]
    assert [each.sip_uri for each in registered if each] == [f"sip:a{n}@x.com" for n in (7, 8, 9)]
    assert [spec.pin for spec in plan.specs] == ["p7", "p8", "p9"]


def test_the_fleet_s_password_goes_before_the_model_s_and_that_before_the_pin() -> None:
    model = "device.registration.password=model"
    assert plan_of(model).specs[0].profile.registration.password == "model"
    spec = plan_of(model, "fleet.registration.password=fleet{n}").specs[0]
    assert (spec.pin, spec.profile.registration.password) == ("fleet1", None)


def test_trust_is_read_from_a_file_beside_the_profile(tmp_path: Path) -> None:
    chain = SiteAuthority().chain()
    certificates = pkcs7.load_der_pkcs7_certificates(chain)
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
    (tmp_path / "ca.pem").write_bytes(pem)
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nextends: register-load\nregistration: {trust: ca.pem}\n"
    )
    settings = [parse_override(text) for text in (*REAL, *TYPED, "fleet.phones=2")]
    plan = read_plan(str(tmp_path / "mine.yaml"), settings)
    wanted = plan.specs[0].fixed_registration
    assert wanted is not None
    assert pkcs7.load_der_pkcs7_certificates(wanted.chain) == certificates


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["fleet.registration.trust=ca.pem"], "leave registration.trust out"),
        ([*REAL, *TYPED], "give registration.trust"),
        ([*REAL, *TYPED, "fleet.registration.trust=/nowhere/ca.pem"], "ca.pem cannot be read: No"),
        ([*REAL, *TYPED, "fleet.registration.trust=/proc/self/status"], "holds no PEM"),
        ([*REAL, PLAIN], "fleet.users_from, a site profile with users, or registration.sip_uri"),
        ([*REAL, PLAIN, TYPED[0]], "the users of registration.sip_uri have no password"),
        ([*REAL, PLAIN, TYPED[0], "fleet.registration.password={x}"], "only {n} is known"),
        (
            ["device.registration.authentication=[tls-dsk]"],
            "registers with a certificate alone.*add digest",
        ),
        (["fleet.users_from=contoso", "fleet.phones=100001"], "100001 addresses|enlarge|lower"),
        ([*REAL, "fleet.addresses=null", *TYPED, PLAIN], "needs an address of its own"),
        (["fleet.attach=relay", "fleet.relay={servers: [127.20.0.10], giaddrs: []}"], "relay"),
    ],
)
def test_what_is_missing_is_said(assignments: list[str], said: str) -> None:
    with pytest.raises(ProfileError, match=said):
        plan_of(*assignments)


def test_a_password_that_cannot_be_filled_in_is_not_shown() -> None:
    with pytest.raises(ProfileError) as raised:
        plan_of("fleet.registration.password=s3cret{x}")
    assert "s3cret" not in str(raised.value)


def test_too_few_users_are_told() -> None:
    with pytest.raises(ProfileError, match="3 phones need as many users, and 'digest' has 2"):
        plan_of("site.users.0.count=2")
