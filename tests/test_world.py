"""What all worlds have in common."""

from phonesim.device.events import (
    Event,
    HttpResponseReceived,
    MalformedReceived,
    PowerApplied,
    StagesDone,
)
from phonesim.wire.http import HttpResponse
from phonesim.wire.web_ticket import RequestSecurityTokenResponse
from phonesim.world import RunLimits, crash_report

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
    assert [limits.boot_kind(boot) for boot in (1, 2, 3)] == ["warm", "sign-out", "cold"]
    assert [limits.follows(boot) for boot in (1, 2)] == ["sign-out", None]
