"""The three machines of a line together: what goes between them, and what the phone hears."""

from __future__ import annotations

import msgspec
import pytest
from playing import Dice, like

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import CloseConnection, OpenConnection, SendKeepAlive, SendSip
from phonesim.device.events import (
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    ExchangeEnded,
    LineUsable,
    LookupAnswered,
    LookupRequested,
    Registered,
    RegistrarAddress,
    RegistrarChanged,
    RegistrationAbandoned,
    RegistrationEnded,
    RegistrationFailed,
    RegistrationLost,
    RegistrationRegained,
    RegistrationWanted,
    ShutdownRequested,
    SipMessageReceived,
    TimerExpired,
)
from phonesim.device.line import Line
from phonesim.device.outcome import ConnectFailure, FailureReason
from phonesim.wire.dns import DnsRecord
from phonesim.wire.inband_provisioning import InbandProvisioning, encode_inband_provisioning
from phonesim.wire.sip import SipRequest, response_to
from phonesim.wire.sip_server import SipServer

TIMER = TimerExpired()
FE01 = RegistrarAddress(host="fe01", port=5061, transport="tls", source="dhcp:x")
FE02 = RegistrarAddress(host="fe02", port=5061, transport="tls", source="dhcp:x")


def known(*registrars):
    """These Registrars as the cache keeps them: the first one's address is known."""
    first, *others = registrars
    return (msgspec.structs.replace(first, addresses=("10.0.0.21",)), *others)


INBAND = known(*(msgspec.structs.replace(each, source="inband:fe01") for each in (FE01, FE02)))
BODY = encode_inband_provisioning(
    InbandProvisioning(
        registrars=tuple(SipServer(host=h, port=5061, transport="tls") for h in ("fe01", "fe02"))
    )
)
LOST = like(RegistrationLost, registrar="fe01:5061")


class Site:
    """A line whose look-ups and connections succeed unless the host is `down`."""

    def __init__(self, **config):
        config = RegistrationConfig(**config)
        self.line = Line(config, bytes(6), "1", "CPE/4.0", Dice(), lambda now: now)
        self.down = set()
        self.survivable = {"fe02"}
        self.provides = True
        self.offers = True
        self.now = 0.0
        self.hosts = {}
        self.events = []
        self.records = []
        wanted = RegistrationWanted(
            registrars=(FE01, FE02),
            sip_uri="sip:me@contoso.com",
            certificate=b"certificate",
            chain=b"chain",
            source="10.0.0.50",
        )
        self.give(wanted)

    def give(self, event, now=None):
        """Let the line handle an event and the site answer; what the phone hears of it."""
        self.now = self.now if now is None else now
        heard, waiting = [], [event]
        while waiting:
            for output in self.line.handle(waiting.pop(0), self.now):
                match output:
                    case log.LogRecord():
                        self.records.append(output.name)
                    case LookupRequested():
                        record = DnsRecord(output.qname, "A", 60, "10.0.0.21")
                        waiting.append(
                            LookupAnswered(
                                lookup_id=output.lookup_id,
                                qname=output.qname,
                                qtype="A",
                                rcode="NOERROR",
                                records=(record,),
                            )
                        )
                    case OpenConnection():
                        waiting.append(self.connect(output))
                    case SendSip(message=SipRequest() as request):
                        answer = self.answer(output.connection_id, request)
                        if answer is not None:
                            waiting.append(answer)
                    case SendSip() | SendKeepAlive() | CloseConnection() | ExchangeEnded():
                        pass
                    case _:
                        heard.append(output)
        return heard

    def connect(self, action):
        number, host = action.connection_id, action.server_name
        if host in self.down:
            return ConnectionFailed(
                connection_id=number, failure=ConnectFailure.REFUSED, detail="refused"
            )
        self.hosts[number] = host
        return ConnectionOpened(connection_id=number, local_address="10.0.0.50", local_port=5)

    def answer(self, number, request):
        if request.method == "SUBSCRIBE":
            if not self.provides:
                return None
            response = response_to(request, 200, "OK", to_tag="x", expires=28800)
            response = msgspec.structs.replace(response, body=BODY)
        else:
            is_away = self.hosts[number] in self.survivable
            headers = [
                ("presence-state", f'is-connected-to-primary="{"no" if is_away else "yes"}"')
            ]
            if self.offers:
                headers.append(("Allow-Events", "vnd-microsoft-provisioning-v2"))
            response = response_to(
                request, 200, "OK", to_tag="x", expires=600, headers=tuple(headers)
            )
        return SipMessageReceived(connection_id=number, message=response)

    def wait(self, kind):
        """Let time pass until the phone hears something of that kind."""
        for _ in range(100):
            heard = self.give(TIMER, self.line.next_deadline()[0])
            if any(isinstance(each, kind) for each in heard):
                return heard
        raise AssertionError(f"no {kind.__name__} came")

    def cut(self):
        number = max(self.hosts)
        return self.give(ConnectionClosed(connection_id=number, detail="cut"))


def usable(registrar=FE01, registrars=INBAND):
    return LineUsable(registrar=registrar, registrars=registrars, web_services=None)


def heard_at_first(**config):
    """A site, and what the phone heard while it registered."""
    site = Site.__new__(Site)
    heard = []
    give = Site.give
    site.give = lambda event, now=None: heard.extend(give(site, event, now)) or heard
    Site.__init__(site, **config)
    del site.give
    return site, heard


def test_a_line_is_usable_when_provisioning_has_come():
    _, heard = heard_at_first()
    assert heard == [like(Registered, registrar=FE01), usable()]


def test_without_an_offer_or_an_answer_it_is_usable_with_what_was_found():
    _, heard = heard_at_first(provisioning=False)
    assert heard == [like(Registered), usable(registrars=known(FE01, FE02))]
    site = Site()
    site.give(RegistrationAbandoned())
    site.provides = False
    heard = site.give(msgspec.structs.replace(site.line._wanted))
    assert heard == [like(Registered)]
    assert site.wait(LineUsable) == [usable(registrars=known(FE01, FE02))]


def test_a_lost_line_is_made_again_at_the_same_registrar():
    site = Site()
    assert site.cut() == [LOST]
    assert site.wait(Registered) == [
        RegistrationRegained(registrar="fe01:5061"),
        like(Registered, is_refresh=False),
        like(LineUsable, registrars=INBAND),
    ]


def test_a_line_fails_over_to_the_backup_and_comes_home():
    site = Site(failover_delay=20, return_interval=60)
    site.down = {"fe01"}
    assert site.cut() == [LOST]
    away = site.wait(Registered)
    assert away[:3] == [
        RegistrationRegained(registrar="fe02:5061"),
        RegistrarChanged(previous="fe01:5061", registrar="fe02:5061", is_survivable=True),
        like(Registered, is_survivable=True),
    ]
    for _ in range(10):
        assert site.give(TIMER, site.line.next_deadline()[0]) == []
    assert site.records.count("primary_probed") >= 1
    site.down = set()
    home = site.wait(RegistrarChanged)
    assert home[0] == RegistrarChanged(
        previous="fe02:5061", registrar="fe01:5061", is_survivable=False
    )
    assert not any(isinstance(each, RegistrationLost) for each in home)


def test_a_line_that_began_at_the_backup_looks_for_its_primary():
    site, _ = heard_at_first()
    site.down = {"fe01"}
    site.give(RegistrationAbandoned())
    heard = site.give(msgspec.structs.replace(site.line._wanted))
    inband = tuple(msgspec.structs.replace(each, source="inband:fe02") for each in (FE01, FE02))
    assert heard == [like(Registered, registrar=FE02), usable(FE02, known(*inband[::-1])[::-1])]
    site.down = set()
    assert site.wait(RegistrarChanged)[0] == like(RegistrarChanged, registrar="fe01:5061")


def test_a_loss_before_the_line_is_usable_is_not_observed():
    site = Site()
    site.give(RegistrationAbandoned())
    site.provides = False
    site.give(msgspec.structs.replace(site.line._wanted))
    assert site.cut() == []
    site.provides = True
    assert site.wait(LineUsable)[-1] == like(LineUsable, registrars=INBAND)


def test_a_refusal_ends_the_line_and_all_that_rests_on_it():
    site = Site()
    site.give(TIMER, 570.0)
    heard = site.give(
        SipMessageReceived(
            connection_id=1, message=response_to(site_request(site), 403, "Forbidden")
        )
    )
    assert heard == [LOST, like(RegistrationFailed, reason=FailureReason.REGISTRATION_FORBIDDEN)]
    assert site.line.next_deadline() is None


def site_request(site):
    """The REGISTER that the line sends next, unanswered."""
    outputs = site.line.handle(TIMER, site.line.next_deadline()[0])
    while not any(isinstance(each, SendSip) for each in outputs):
        outputs = site.line.handle(TIMER, site.line.next_deadline()[0])
    return next(each.message for each in outputs if isinstance(each, SendSip))


def test_shutdown_unsubscribes_then_deregisters():
    site = Site()
    sent = [
        (each.message.method, each.message.expires)
        for each in site.line.handle(ShutdownRequested(), 10.0)
        if isinstance(each, SendSip)
    ]
    assert sent == [("SUBSCRIBE", 0), ("REGISTER", 0)]
    assert site.give(TIMER, 12.0) == [RegistrationEnded()]
    assert site.line.next_deadline() is None


@pytest.mark.parametrize("down", [set(), {"fe01"}])
def test_what_is_abandoned_waits_for_nothing(down):
    site = Site()
    site.down = down
    site.cut()
    assert site.give(RegistrationAbandoned()) == []
    assert site.line.next_deadline() is None
