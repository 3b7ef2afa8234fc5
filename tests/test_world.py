"""What all worlds have in common."""

import msgspec

from phonesim.device.events import (
    Event,
    HttpResponseReceived,
    MalformedReceived,
    PowerApplied,
    StagesDone,
)
from phonesim.profiles import DEVICE, load
from phonesim.wire.http import HttpResponse
from phonesim.wire.web_ticket import RequestSecurityTokenResponse
from phonesim.world import PhoneSpec, RunLimits, crash_report

TICKET = RequestSecurityTokenResponse(
    context="c",
    assertion_id="SamlSecurityToken-1",
    assertion="<saml:Assertion>TICKET-ITSELF</saml:Assertion>",
    created=1,
    expires=2,
    entropy=b"SERVER-ENTROPY",
    sip_uri="sip:user1@contoso.com",
)


def test_a_crash_report_tells_what_happened_without_secrets() -> None:
    events: list[tuple[float, Event]] = [
        (0.0, PowerApplied(files={"identity.json": b"WHO-IT-IS", "phone.key": b""}, has_key=True)),
        (
            1.5,
            HttpResponseReceived(exchange_id=7, response=HttpResponse(status=200, message=TICKET)),
        ),
        (2.0, MalformedReceived(protocol="sip", source="10.0.0.1", reason="odd", size=3)),
        (3.0, StagesDone()),
    ]
    text = crash_report(ValueError("a defect"), events).decode()
    assert "ValueError: a defect" in text
    assert "0.000000 PowerApplied(files={'identity.json': <9 octets>, " in text
    assert "exchange_id=7" in text
    assert "assertion_id='SamlSecurityToken-1'" in text
    assert "entropy=***" in text
    assert "reason='odd', size=3" in text
    assert text.endswith("3.000000 StagesDone()\n")
    for secret in ("WHO-IT-IS", "TICKET-ITSELF", "SERVER-ENTROPY"):
        assert secret not in text


def test_boots_follow_each_other_and_repeated_ones_are_cold() -> None:
    limits = RunLimits(boots=("warm", "sign-out"))
    spec = PhoneSpec(
        phone_id="00-04-F2-00-00-01",
        mac=bytes(6),
        profile=load(DEVICE, "polycom-cx600"),
        number="1",
        pin="1",
        starts_at=0,
        seed="1",
    )
    assert [limits.boot_kind(spec, boot) for boot in (1, 2, 3)] == ["warm", "sign-out", "cold"]
    reset = msgspec.structs.replace(spec, first_boot="factory-reset")
    assert [limits.boot_kind(reset, boot) for boot in (1, 2)] == ["factory-reset", "sign-out"]
    assert [limits.follows(boot) for boot in (1, 2)] == ["sign-out", None]
