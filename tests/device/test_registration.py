from __future__ import annotations

import random

import msgspec
import pytest
from playing import Dice, containing, like, matching, play

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import CloseConnection, OpenConnection, SendKeepAlive, SendSip
from phonesim.device.events import (
    ConnectionClosed,
    ConnectionFailed,
    ConnectionOpened,
    ExchangeEnded,
    LookupAnswered,
    LookupRequested,
    MalformedReceived,
    Registered,
    RegistrarAddress,
    RegistrationAbandoned,
    RegistrationEnded,
    RegistrationFailed,
    RegistrationLost,
    RegistrationWanted,
    ShutdownRequested,
    SipMessageReceived,
    TimerExpired,
)
from phonesim.device.outcome import ConnectFailure, FailureReason
from phonesim.device.registration import Registration
from phonesim.wire.digest import digest_verifies
from phonesim.wire.dns import DnsRecord
from phonesim.wire.endpoint import epid_for, sip_instance
from phonesim.wire.sip import (
    Challenge,
    Contact,
    NameAddress,
    SipRequest,
    SipResponse,
    encode_sip,
    header,
)

MAC = bytes.fromhex("0004F2000001")
ME, PORT = "10.0.0.50", 50001
SIP_URI, PIN = "sip:user00001@contoso.com", "8000014"
CHAIN, CERTIFICATE = b"the chain", b"the certificate"
EPID = epid_for(MAC, SIP_URI)
INSTANCE = sip_instance(EPID)
EPOCH = 1.7e9
AGENT = "CPE/4.0 OCPhone/4.0"
TIMER = TimerExpired()
FIRST = RegistrarAddress(host="fe01.contoso.com", port=5061, transport="tls", source="dhcp:x")
SECOND = RegistrarAddress(host="fe02.contoso.com", port=5061, transport="tls", source="dhcp:x")
PLAIN = RegistrarAddress(host="pbx.contoso.com", port=5060, transport="tcp", source="dns:x")
NAME = "fe01.contoso.com:5061"
ENDED = RegistrationEnded()


def registration(rng=None, **config):
    return Registration(
        RegistrationConfig(**config), MAC, PIN, AGENT, rng or Dice(), lambda now: EPOCH + now
    )


def wanted(*registrars):
    return RegistrationWanted(
        registrars=registrars or (FIRST, SECOND),
        sip_uri=SIP_URI,
        certificate=CERTIFICATE,
        chain=CHAIN,
        source=ME,
    )


def lookup(registrar=FIRST):
    return LookupRequested(lookup_id="registration:registrar", qname=registrar.host, qtype="A")


def found(*addresses, registrar=FIRST, rcode="NOERROR"):
    return LookupAnswered(
        lookup_id="registration:registrar",
        qname=registrar.host,
        qtype="A",
        rcode=rcode,
        records=tuple(DnsRecord(registrar.host, "A", 60, address) for address in addresses),
    )


def opens(number, registrar=FIRST, *, address="10.0.0.21", at=0.0):
    is_tls = registrar.transport == "tls"
    return OpenConnection(
        connection_id=number,
        source=ME,
        address=address,
        port=registrar.port,
        transport=registrar.transport,
        server_name=registrar.host,
        trust=CHAIN if is_tls else None,
        certificate=CERTIFICATE if is_tls else None,
        clock=EPOCH + at,
        timeout=10,
    )


def opened(number=1):
    return ConnectionOpened(connection_id=number, local_address=ME, local_port=PORT)


def refused(number=1, failure=ConnectFailure.REFUSED):
    return ConnectionFailed(connection_id=number, failure=failure, detail="no luck")


def closed(number=1):
    return ConnectionClosed(connection_id=number, detail="closed by the server")


def registers(number=1, cseq=1, **fields):
    request = like(SipRequest, method="REGISTER", cseq=cseq, **fields)
    return like(SendSip, connection_id=number, message=request)


def closes(number=1):
    return CloseConnection(connection_id=number)


def ended(seconds=0.0):
    return ExchangeEnded(kind="sip_register", sent=1, seconds=seconds)


def failed(reason, detail=None):
    fields = {} if detail is None else {"detail": detail}
    return like(RegistrationFailed, reason=reason, **fields)


def lost(detail="closed by the server"):
    return RegistrationLost(registrar=NAME, detail=detail)


def registered(registrar=FIRST, expires=600, *, is_refresh=False):
    return Registered(registrar=registrar, expires=expires, is_refresh=is_refresh)


class Line:
    """A registration, and what it sent last, so that answers can be made of it."""

    def __init__(self, rng=None, registrars=(FIRST, SECOND), **config):
        self.machine = registration(rng, **config)
        self.sent = None
        self.number = 0
        self.give(wanted(*registrars), 0.0)

    def give(self, event, now=0.0):
        outputs = self.machine.handle(event, now)
        for item in outputs:
            if isinstance(item, SendSip):
                self.sent = item.message
                encode_sip(item.message)
            if isinstance(item, OpenConnection):
                self.number = item.connection_id
        return [item for item in outputs if not isinstance(item, log.LogRecord)]

    def connect(self, now=0.0):
        """Take the machine to where a REGISTER waits for its answer."""
        self.give(found("10.0.0.21"), now)
        return self.give(opened(self.number), now)

    def bind(self, now=0.0, **fields):
        self.connect(now)
        return self.give(self.ok(**fields), now)

    def answer(self, status, reason="", **fields):
        message = SipResponse(
            status=status,
            reason=reason,
            vias=self.sent.vias,
            sender=self.sent.sender,
            recipient=self.sent.recipient,
            call_id=fields.pop("call_id", self.sent.call_id),
            cseq=fields.pop("cseq", self.sent.cseq),
            cseq_method="REGISTER",
            **fields,
        )
        return SipMessageReceived(connection_id=self.number, message=message)

    def ok(self, expires=600, timeout=None, **fields):
        if "contacts" not in fields:
            (contact,) = self.sent.contacts
            fields["contacts"] = (msgspec.structs.replace(contact, expires=expires),)
        if timeout is not None:
            fields["headers"] = (("ms-keep-alive", f"UAS; tcp=no; timeout={timeout}"),)
        return self.answer(200, "OK", **fields)

    def challenge(self, status=401, **parameters):
        parameters = {"realm": "contoso.com", "nonce": "n1", "qop": "auth"} | parameters
        challenge = Challenge(
            scheme="Digest", parameters=tuple(parameters.items()), is_proxy=status == 407
        )
        return self.answer(status, "Unauthorized", challenges=(challenge,))

    def credentials(self):
        (credentials,) = self.sent.credentials
        return dict(credentials.parameters)

    def deadline(self):
        return self.machine.next_deadline()


# --- the whole way ---


def test_the_first_registrar_is_looked_up_connected_to_and_registered_at():
    play(
        registration(),
        [
            (0.0, wanted(), [lookup()]),
            (
                1.0,
                found("10.0.0.21"),
                [
                    log.REGISTRAR_CONNECTING(NAME, "10.0.0.21", "tls", "dhcp:x"),
                    opens(1, at=1.0),
                ],
            ),
            (1.0, None, []),
            (
                2.0,
                opened(),
                [
                    log.REGISTRAR_CONNECTED(NAME, f"{ME}:{PORT}"),
                    log.REGISTER_SENT(NAME, 1, 600, ""),
                    registers(),
                ],
            ),
            (2.0, None, [(34.0, "give the REGISTER up")]),
        ],
    )


def test_register_is_what_these_phones_send():
    line = Line()
    line.connect()
    request = line.sent
    assert request.uri == "sip:contoso.com"
    assert request.sender == NameAddress(uri=SIP_URI, tag=request.sender.tag, epid=EPID)
    assert request.sender.tag
    assert request.recipient == NameAddress(uri=SIP_URI)
    assert request.expires == 600
    assert request.credentials == ()
    (contact,) = request.contacts
    assert contact.instance == INSTANCE
    assert contact.uri.startswith(f"sip:{ME}:{PORT};transport=tls;ms-opaque=")
    assert ("proxy", "replace") in contact.parameters
    (via,) = request.vias
    assert via.startswith(f"SIP/2.0/TLS {ME}:{PORT};branch=z9hG4bK")
    assert header(request, "User-Agent") == AGENT
    assert header(request, "Event") == "registration"
    assert [value for name, value in request.headers if name == "Supported"] == [
        "gruu-10",
        "adhoclist",
        "msrtc-event-categories",
    ]


def test_over_tcp_there_is_neither_trust_nor_certificate():
    play(
        registration(),
        [
            (0.0, wanted(PLAIN), [lookup(PLAIN)]),
            (0.0, found("10.0.0.30", registrar=PLAIN), [opens(1, PLAIN, address="10.0.0.30")]),
        ],
    )


def test_over_tcp_via_and_contact_say_so():
    line = Line(registrars=(PLAIN,))
    line.connect()
    assert line.sent.vias[0].startswith("SIP/2.0/TCP ")
    assert ";transport=tcp;" in line.sent.contacts[0].uri


def test_a_200_binds_and_the_keep_alive_runs():
    line = Line()
    line.connect(1.0)
    assert line.give(line.ok(expires=600), 2.0) == [ended(1.0), registered()]
    assert line.deadline() == (62.0, "keep-alive")


def test_a_refresh_comes_before_expiry_and_keeps_call_id_and_tag():
    line = Line()
    line.bind(expires=600, timeout=10_000)
    first = line.sent
    assert line.deadline() == (570.0, "refresh")
    assert line.give(TIMER, 569.0) == []
    (sent,) = line.give(TIMER, 570.0)
    assert sent == registers(1, 2, call_id=first.call_id, sender=first.sender, expires=600)
    assert sent.message.vias != first.vias
    assert line.give(line.ok(expires=300, timeout=10_000), 571.0) == [
        ended(1.0),
        registered(expires=300, is_refresh=True),
    ]
    assert line.deadline() == (571.0 + 270.0, "refresh")


@pytest.mark.parametrize(("expires", "delay"), [(40, 20), (60, 30), (10, 5), (1, 1), (0, 1)])
def test_a_short_binding_is_refreshed_in_time_but_never_without_a_pause(expires, delay):
    line = Line()
    line.bind(expires=expires)
    assert line.deadline() == (delay, "refresh")


def test_the_expiry_is_that_of_the_phone_s_own_contact():
    line = Line()
    line.connect()
    (mine,) = line.sent.contacts
    other = Contact(uri="sip:10.0.0.99:5061", expires=60, instance=sip_instance("0000000000"))
    contacts = (other, msgspec.structs.replace(mine, expires=450))
    assert line.give(line.ok(contacts=contacts))[-1] == registered(expires=450)


def test_a_contact_is_its_own_by_address_where_the_instance_is_missing():
    line = Line()
    line.connect()
    mine = Contact(uri=f"sip:{ME}:{PORT};transport=tls", expires=450)
    assert line.give(line.ok(contacts=(mine,)))[-1] == registered(expires=450)


@pytest.mark.parametrize(("fields", "expires"), [({"expires": 120}, 120), ({}, 600)])
def test_without_an_own_contact_expires_counts_then_what_was_asked_for(fields, expires):
    line = Line()
    line.connect()
    message = line.answer(200, "OK", contacts=(), **fields)
    assert line.give(message)[-1] == registered(expires=expires)


def test_a_binding_says_whether_the_registrar_added_it():
    line = Line()
    line.connect()
    message = line.ok(headers=(("presence-state", 'register-action="added";x="y"'),))
    play(
        line.machine,
        [(0.0, message, [log.REGISTERED(NAME, SIP_URI, 600, "added"), ended(), registered()])],
    )


# --- keep-alive ---


def test_keep_alives_go_out_at_four_fifths_of_the_server_s_timeout():
    line = Line()
    line.bind(expires=3600, timeout=300)
    assert line.deadline() == (240.0, "keep-alive")
    assert line.give(TIMER, 239.0) == []
    assert line.give(TIMER, 240.0) == [SendKeepAlive(connection_id=1)]
    assert line.deadline() == (480.0, "keep-alive")


@pytest.mark.parametrize("timeout", ["0", "1", "99999999999999999999", "-3", "x"])
def test_an_odd_timeout_makes_no_endless_loop(timeout):
    line = Line()
    line.bind(expires=3600, timeout=timeout)
    assert line.deadline()[0] >= 1.0


def test_the_shortest_keep_alive_interval_is_a_second():
    line = Line()
    line.bind(expires=3600, timeout=1)
    assert line.deadline() == (1.0, "keep-alive")


def test_a_register_counts_as_a_keep_alive():
    line = Line()
    line.bind(expires=600, timeout=500)
    line.give(TIMER, 400.0)
    line.give(TIMER, 570.0)
    line.give(line.ok(expires=600, timeout=500), 571.0)
    assert line.deadline() == (971.0, "keep-alive")


def test_a_new_connection_forgets_the_old_server_s_timeout():
    line = Line()
    line.bind(expires=3600, timeout=300)
    line.give(closed(), 10.0)
    line.give(TIMER, line.deadline()[0])
    line.connect(20.0)
    line.give(line.ok(expires=3600), 20.0)
    assert line.deadline() == (80.0, "keep-alive")


# --- Registrars that fail ---

CONNECT_REASONS = {
    ConnectFailure.REFUSED: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.UNREACHABLE: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.CLOSED: FailureReason.REGISTRAR_REFUSED,
    ConnectFailure.TIMEOUT: FailureReason.REGISTRAR_TIMEOUT,
    ConnectFailure.CERTIFICATE_EXPIRED: FailureReason.CERTIFICATE_EXPIRED,
    ConnectFailure.CERTIFICATE_NOT_YET_VALID: FailureReason.CERTIFICATE_NOT_YET_VALID,
    ConnectFailure.CERTIFICATE_WILDCARD: FailureReason.CERTIFICATE_WILDCARD,
    ConnectFailure.CERTIFICATE_NAME_MISMATCH: FailureReason.CERTIFICATE_NAME_MISMATCH,
    ConnectFailure.CERTIFICATE_UNTRUSTED: FailureReason.CERTIFICATE_UNTRUSTED,
    ConnectFailure.CERTIFICATE_ISSUER_MISSING: FailureReason.CERTIFICATE_ISSUER_MISSING,
    ConnectFailure.CHAIN_UNUSABLE: FailureReason.CHAIN_UNUSABLE,
    ConnectFailure.TLS_VERSION_REFUSED: FailureReason.TLS_VERSION_REFUSED,
    ConnectFailure.TLS_FAILED: FailureReason.TLS_FAILED,
    ConnectFailure.MALFORMED: FailureReason.MALFORMED_ANSWER,
}


@pytest.mark.parametrize("failure", ConnectFailure)
def test_a_registrar_that_cannot_be_connected_to_gives_way_to_the_next(failure):
    play(
        registration(),
        [
            (0.0, wanted(), [lookup()]),
            (0.0, found("10.0.0.21"), [opens(1)]),
            (
                1.0,
                refused(1, failure),
                [log.REGISTRAR_FAILED(NAME, failure, "no luck"), lookup(SECOND)],
            ),
            (
                1.0,
                found("10.0.0.22", registrar=SECOND),
                [opens(2, SECOND, address="10.0.0.22", at=1.0)],
            ),
            (
                2.0,
                refused(2, failure),
                [failed(CONNECT_REASONS[failure], containing("fe02", "no luck"))],
            ),
            (2.0, None, []),
        ],
    )


def test_every_address_of_a_name_is_tried():
    play(
        registration(),
        [
            (0.0, wanted(), [lookup()]),
            (0.0, found("10.0.0.21", "10.0.0.22"), [opens(1)]),
            (0.0, refused(1), [opens(2, address="10.0.0.22")]),
            (0.0, refused(2), [lookup(SECOND)]),
        ],
    )


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR", "TIMEOUT"])
def test_a_registrar_without_address_gives_way_to_the_next(rcode):
    play(
        registration(),
        [
            (0.0, wanted(), [lookup()]),
            (
                0.0,
                found(rcode=rcode),
                [matching(log.REGISTRAR_FAILED, failure="unresolved"), lookup(SECOND)],
            ),
            (
                0.0,
                found(registrar=SECOND, rcode=rcode),
                [failed(FailureReason.REGISTRAR_NAME_UNRESOLVED, containing("fe02", rcode))],
            ),
        ],
    )


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (301, FailureReason.REGISTRATION_REJECTED),
        (400, FailureReason.REGISTRATION_REJECTED),
        (401, FailureReason.REGISTRATION_UNAUTHORIZED),
        (403, FailureReason.REGISTRATION_FORBIDDEN),
        (404, FailureReason.REGISTRATION_NOT_FOUND),
        (407, FailureReason.REGISTRATION_UNAUTHORIZED),
        (423, FailureReason.REGISTRATION_REJECTED),
        (480, FailureReason.REGISTRATION_REJECTED),
        (500, FailureReason.REGISTRAR_UNAVAILABLE),
        (503, FailureReason.REGISTRAR_UNAVAILABLE),
        (504, FailureReason.REGISTRAR_UNAVAILABLE),
        (600, FailureReason.REGISTRATION_REJECTED),
        (603, FailureReason.REGISTRATION_REJECTED),
    ],
)
def test_every_status_has_its_reason(status, reason):
    line = Line(registrars=(FIRST,))
    line.connect()
    diagnostics = (("ms-diagnostics", '4004;reason="no"'),)
    play(
        line.machine,
        [
            (
                1.0,
                line.answer(status, "Said No", headers=diagnostics),
                [
                    log.REGISTER_ANSWER(status, "Said No", 1, '4004;reason="no"'),
                    ended(1.0),
                    closes(),
                    failed(reason, containing("fe01", f"{status} Said No", "4004")),
                ],
            ),
            (1.0, None, []),
        ],
    )


def test_public_diagnostics_are_told_too():
    line = Line(registrars=(FIRST,))
    line.connect()
    headers = (("ms-diagnostics-public", "4004;x"),)
    told = log.REGISTER_ANSWER(403, "No", 1, "4004;x")
    play(line.machine, [(0.0, line.answer(403, "No", headers=headers), [told, *refusal()])])


def refusal():
    return [ended(), closes(), failed(FailureReason.REGISTRATION_FORBIDDEN, containing("4004"))]


def test_a_registrar_that_refuses_gives_way_to_the_next_which_may_accept():
    line = Line()
    line.connect()
    assert line.give(line.answer(503, "Busy"), 1.0) == [ended(1.0), closes(), lookup(SECOND)]
    line.give(found("10.0.0.22", registrar=SECOND), 1.0)
    line.give(opened(2), 2.0)
    assert line.sent.cseq == 1
    assert line.give(line.ok(), 3.0) == [ended(1.0), registered(SECOND)]


def test_a_registrar_that_does_not_answer_gives_way_to_the_next():
    line = Line()
    line.connect()
    play(
        line.machine,
        [
            (31.0, TIMER, []),
            (
                32.0,
                TIMER,
                [
                    matching(log.REGISTRAR_FAILED, failure="timeout"),
                    ExchangeEnded(kind="sip_register", sent=1, seconds=None),
                    closes(),
                    lookup(SECOND),
                ],
            ),
        ],
    )


def test_a_registrar_that_closes_before_it_answers_gives_way_to_the_next():
    line = Line()
    line.connect()
    gone = log.REGISTRATION_LOST(NAME, "closed by the server")
    play(line.machine, [(1.0, closed(), [gone, lookup(SECOND)])])


def test_the_last_registrar_s_close_is_the_failure():
    line = Line(registrars=(FIRST,))
    line.connect()
    play(
        line.machine,
        [(1.0, closed(), [failed(FailureReason.REGISTRAR_REFUSED)]), (1.0, None, [])],
    )


# --- answers that are none ---


def test_provisional_answers_leave_the_register_waiting():
    line = Line()
    line.connect()
    assert line.give(line.answer(100, "Trying"), 1.0) == []
    assert line.give(line.ok(), 2.0) == [ended(2.0), registered()]


def test_messages_that_answer_nothing_are_dropped_with_a_record():
    line = Line()
    line.connect()
    request = SipMessageReceived(connection_id=1, message=line.sent)
    elsewhere = msgspec.structs.replace(line.ok(), connection_id=9)
    play(
        line.machine,
        [
            (1.0, line.ok(cseq=7), [matching(log.SIP_IGNORED)]),
            (1.0, line.ok(call_id="other"), [matching(log.SIP_IGNORED)]),
            (1.0, request, [matching(log.SIP_IGNORED, detail=containing("REGISTER"))]),
            (1.0, elsewhere, []),
            (2.0, line.ok(), [ended(2.0), registered()]),
            (2.0, line.ok(), [matching(log.SIP_IGNORED, detail=containing("200"))]),
        ],
    )


# --- Digest ---


def test_a_digest_challenge_is_answered_with_the_user_s_name_and_pin():
    line = Line()
    line.connect()
    (sent,) = line.give(line.challenge(algorithm="MD5"), 1.0)
    assert sent == registers(1, 2)
    (credentials,) = sent.message.credentials
    parameters = line.credentials()
    assert parameters["username"] == "user00001"
    assert parameters["uri"] == "sip:contoso.com"
    assert parameters["nc"] == "00000001"
    assert digest_verifies(credentials, method="REGISTER", password=PIN)
    assert not credentials.is_proxy
    assert line.give(line.ok(), 2.0) == [ended(2.0), registered()]


def test_a_profile_s_digest_password_goes_before_the_pin():
    line = Line(digest_password="other")
    line.connect()
    line.give(line.challenge())
    assert digest_verifies(line.sent.credentials[0], method="REGISTER", password="other")


def test_a_proxy_s_challenge_is_answered_to_the_proxy():
    line = Line()
    line.connect()
    line.give(line.challenge(407))
    assert line.sent.credentials[0].is_proxy


def test_a_second_challenge_means_that_the_password_is_wrong():
    line = Line(registrars=(FIRST,))
    line.connect()
    line.give(line.challenge(nonce="n1"))
    assert line.give(line.challenge(nonce="n2"), 1.0) == [
        ended(1.0),
        closes(),
        failed(FailureReason.REGISTRATION_UNAUTHORIZED),
    ]


def test_a_stale_nonce_is_no_wrong_password():
    line = Line()
    line.connect()
    line.give(line.challenge(nonce="n1"))
    line.give(line.challenge(nonce="n2", stale="TRUE"))
    assert (line.credentials()["nonce"], line.credentials()["nc"]) == ("n2", "00000001")
    assert line.give(line.ok())[-1] == registered()


def follow(line, answer):
    """Answer REGISTERs until the phone gives up; how many it sent, and what it said last."""
    for count in range(1, 50):
        outputs = line.give(answer(count))
        if not any(isinstance(item, SendSip) for item in outputs):
            break
    return count, outputs


def test_a_nonce_that_is_always_stale_is_given_up():
    line = Line(registrars=(FIRST,))
    line.connect()
    count, outputs = follow(line, lambda n: line.challenge(nonce=f"n{n}", stale="true"))
    assert count == 5
    assert outputs[-1] == failed(FailureReason.REGISTRATION_UNAUTHORIZED)


@pytest.mark.parametrize(
    "challenge",
    [
        Challenge(scheme="TLS-DSK", parameters=(("realm", "r"), ("targetname", "t"))),
        Challenge(scheme="Digest", parameters=(("realm", "r"), ("nonce", "n"), ("algorithm", "X"))),
        Challenge(scheme="Digest", parameters=(("realm", "r"), ("nonce", "n"), ("qop", "x"))),
        Challenge(scheme="Digest"),
    ],
    ids=["another scheme", "another algorithm", "another qop", "nothing"],
)
def test_a_challenge_that_cannot_be_answered_is_a_refusal(challenge):
    line = Line(registrars=(FIRST,))
    line.connect()
    outputs = line.give(line.answer(401, "Unauthorized", challenges=(challenge,)))
    assert outputs[-1] == failed(FailureReason.REGISTRATION_UNAUTHORIZED)


def test_of_several_challenges_the_first_that_can_be_is_answered():
    line = Line()
    line.connect()
    common = (("realm", "r"), ("nonce", "n"), ("qop", "auth"))
    challenges = (
        Challenge(scheme="NTLM"),
        Challenge(scheme="Digest", parameters=(*common, ("algorithm", "SHA-512"))),
        Challenge(scheme="Digest", parameters=(*common, ("algorithm", "SHA-256"))),
        Challenge(scheme="Digest", parameters=(*common, ("algorithm", "MD5"))),
    )
    line.give(line.answer(401, "Unauthorized", challenges=challenges))
    assert line.credentials()["algorithm"] == "SHA-256"


def test_a_refresh_sends_credentials_at_once_with_the_next_nonce_count():
    line = Line()
    line.connect()
    line.give(line.challenge())
    line.give(line.ok(expires=600, timeout=10_000))
    line.give(TIMER, 570.0)
    assert (line.credentials()["nonce"], line.credentials()["nc"]) == ("n1", "00000002")


def test_a_nonce_that_ended_between_two_refreshes_is_replaced_whatever_the_server_calls_it():
    line = Line()
    line.connect()
    line.give(line.challenge(nonce="n1"))
    line.give(line.ok(expires=600, timeout=10_000))
    line.give(TIMER, 570.0)
    line.give(line.challenge(nonce="n2"), 571.0)
    assert (line.credentials()["nonce"], line.credentials()["nc"]) == ("n2", "00000001")
    assert line.give(line.ok(), 572.0)[-1] == registered(is_refresh=True)


@pytest.mark.parametrize("status", [403, 423, 503])
def test_a_challenge_in_any_other_answer_is_none(status):
    line = Line(registrars=(FIRST,))
    line.connect()
    outputs = line.give(line.challenge(status))
    assert outputs[-1] == like(RegistrationFailed)


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_longer_interval_in_any_other_answer_is_none(status):
    line = Line(registrars=(FIRST,))
    line.connect()
    outputs = line.give(line.answer(status, headers=(("Min-Expires", "900"),)))
    assert outputs[-1] == like(RegistrationFailed)


def test_a_new_connection_begins_without_credentials():
    line = Line()
    line.connect()
    line.give(line.challenge())
    line.give(line.ok())
    line.give(closed(), 10.0)
    line.give(TIMER, line.deadline()[0])
    line.connect(30.0)
    assert line.sent.credentials == ()


# --- 423 ---


def too_brief(line, minimum):
    headers = () if minimum is None else (("Min-Expires", minimum),)
    return line.answer(423, "Interval Too Brief", headers=headers)


def test_an_interval_too_brief_is_lengthened():
    line = Line()
    line.connect()
    assert line.give(too_brief(line, "900")) == [registers(1, 2, expires=900)]
    line.give(line.ok(expires=900, timeout=10_000))
    assert line.deadline() == (870.0, "refresh")
    (sent,) = line.give(TIMER, 870.0)
    assert sent.message.expires == 900


def test_423_after_a_challenge_uses_the_nonce_with_a_new_count():
    line = Line()
    line.connect()
    line.give(line.challenge())
    line.give(too_brief(line, "900"))
    assert line.credentials()["nc"] == "00000002"
    assert digest_verifies(line.sent.credentials[0], method="REGISTER", password=PIN)


@pytest.mark.parametrize("minimum", [None, "600", "10", "", "x", "-1", "9" * 5000, "\u0669" * 4])
def test_423_that_names_no_longer_interval_is_a_refusal(minimum):
    line = Line(registrars=(FIRST,))
    line.connect()
    assert line.give(too_brief(line, minimum))[-1] == failed(FailureReason.REGISTRATION_REJECTED)


def test_a_registrar_that_always_wants_longer_is_given_up():
    line = Line(registrars=(FIRST,))
    line.connect()
    count, outputs = follow(line, lambda n: too_brief(line, str(1000 + n)))
    assert count == 5
    assert outputs[-1] == failed(FailureReason.REGISTRATION_REJECTED)


# --- losing the connection ---


def test_a_lost_connection_is_made_again_after_a_pause():
    line = Line()
    line.bind()
    play(
        line.machine,
        [
            (100.0, closed(), [log.REGISTRATION_LOST(NAME, "closed by the server"), lost()]),
            # The dice give the middle of 1 to 1.5 times the delay.
            (100.0, None, [(106.25, "connect again")]),
            (106.0, TIMER, []),
            (106.25, TIMER, [lookup()]),
            (106.25, found("10.0.0.21"), [opens(2, at=106.25)]),
            (107.0, opened(2), [registers(2, 1)]),
        ],
    )


def test_a_registration_made_again_is_no_refresh():
    line = Line()
    line.bind()
    line.give(closed(), 100.0)
    line.give(TIMER, 106.25)
    line.connect(107.0)
    assert line.give(line.ok(), 108.0) == [ended(1.0), registered()]


def test_the_pause_grows_with_every_loss_and_begins_anew_after_success():
    line = Line(registrars=(FIRST,))
    line.bind()
    now, pauses = 0.0, []
    line.give(closed(line.number), now)
    for _ in range(6):
        at = line.deadline()[0]
        pauses.append(at - now)
        now = at
        line.give(TIMER, now)
        line.give(found("10.0.0.21"), now)
        line.give(refused(line.number), now)
    assert pauses == [6.25, 12.5, 37.5, 75.0, 75.0, 75.0]
    now = line.deadline()[0]
    line.give(TIMER, now)
    line.bind(now)
    line.give(closed(line.number), now)
    assert line.deadline()[0] - now == 6.25


def test_the_pause_has_jitter_of_up_to_half_of_it():
    pauses = set()
    for seed in range(50):
        line = Line(random.Random(seed))
        line.bind()
        line.give(closed(), 0.0)
        pauses.add(line.deadline()[0])
    assert all(5.0 <= pause <= 7.5 for pause in pauses)
    assert len(pauses) == 50
    assert max(pauses) > 7.0


def test_after_a_loss_every_registrar_is_tried_and_none_is_the_end():
    line = Line()
    line.bind()
    line.give(closed(), 0.0)
    line.give(TIMER, 6.25)
    play(
        line.machine,
        [
            (7.0, found(rcode="TIMEOUT"), [lookup(SECOND)]),
            (8.0, found(registrar=SECOND, rcode="TIMEOUT"), []),
            (8.0, None, [(8.0 + 12.5, "connect again")]),
            (20.5, TIMER, [lookup()]),
        ],
    )


def test_after_a_loss_the_first_registrar_is_tried_first_again():
    line = Line()
    line.connect()
    line.give(line.answer(503, "Busy"))
    line.give(found("10.0.0.22", registrar=SECOND))
    line.give(opened(2))
    line.give(line.ok())
    line.give(closed(2), 10.0)
    assert line.give(TIMER, 16.25) == [lookup(FIRST)]


def test_a_refused_refresh_leads_to_the_next_registrar():
    line = Line()
    line.bind(expires=600, timeout=10_000)
    line.give(TIMER, 570.0)
    assert line.give(line.answer(403, "Forbidden"), 571.0) == [
        ended(1.0),
        like(RegistrationLost, registrar=NAME),
        closes(),
        lookup(SECOND),
    ]


def test_a_connection_lost_while_refreshing_is_made_again():
    line = Line()
    line.bind(expires=600, timeout=10_000)
    line.give(TIMER, 570.0)
    assert line.give(closed(), 571.0) == [lost()]
    assert line.deadline() == (577.25, "connect again")


# --- malformed ---

MALFORMED = MalformedReceived(protocol="sip", source="10.0.0.21", reason="no colon", size=9)


def test_a_malformed_message_closes_the_connection():
    line = Line()
    line.bind()
    play(
        line.machine,
        [
            (
                10.0,
                MALFORMED,
                [matching(log.REGISTRATION_LOST, detail="no colon"), closes(), lost("no colon")],
            ),
            (10.0, None, [(16.25, "connect again")]),
        ],
    )


def test_a_malformed_answer_gives_way_to_the_next_registrar():
    line = Line()
    line.connect()
    assert line.give(MALFORMED, 1.0) == [closes(), lookup(SECOND)]


def test_without_an_open_connection_a_malformed_message_changes_nothing():
    line = Line()
    play(line.machine, [(0.0, MALFORMED, [])])
    line.give(found("10.0.0.21"))
    play(line.machine, [(0.0, MALFORMED, []), (0.0, opened(), [registers()])])


# --- events that crossed our own close ---


def test_a_close_that_crossed_ours_wakes_nothing():
    line = Line(registrars=(FIRST,))
    line.connect()
    line.give(line.answer(403, "Forbidden"))
    play(line.machine, [(0.0, closed(), []), (0.0, None, [])])


def test_events_of_an_earlier_connection_do_not_disturb_the_next_registrar():
    line = Line()
    line.connect()
    line.give(line.answer(503, "Busy"))
    play(
        line.machine,
        [
            (0.0, closed(1), []),
            (0.0, found("10.0.0.22", registrar=SECOND), [like(OpenConnection, connection_id=2)]),
            (0.0, closed(1), []),
            (0.0, refused(1), []),
            (0.0, opened(1), []),
            (0.0, opened(2), [registers(2)]),
        ],
    )


# --- the end ---


def test_shutdown_deregisters_and_closes():
    line = Line()
    line.bind(expires=600)
    assert line.give(ShutdownRequested(), 10.0) == [registers(1, 2, expires=0)]
    assert line.deadline() == (12.0, "give the deregistration up")
    assert line.give(line.answer(200, "OK"), 10.5) == [closes(), ENDED]
    assert line.deadline() is None


def test_a_deregistration_that_nobody_answers_is_given_up():
    line = Line()
    line.bind()
    line.give(ShutdownRequested(), 10.0)
    play(line.machine, [(11.9, TIMER, []), (12.0, TIMER, [closes(), ENDED]), (12.0, None, [])])


@pytest.mark.parametrize("status", [401, 403, 481, 500])
def test_whatever_answers_a_deregistration_ends_it(status):
    line = Line()
    line.bind()
    line.give(ShutdownRequested(), 10.0)
    assert line.give(line.answer(status), 10.5) == [closes(), ENDED]


def test_a_connection_lost_while_deregistering_is_the_end():
    line = Line()
    line.bind()
    line.give(ShutdownRequested(), 10.0)
    assert line.give(closed(), 10.5) == [ENDED]


def test_a_deregistration_carries_credentials():
    line = Line()
    line.connect()
    line.give(line.challenge())
    line.give(line.ok())
    line.give(ShutdownRequested(), 10.0)
    assert line.credentials()["nc"] == "00000002"


def test_shutdown_while_refreshing_deregisters():
    line = Line()
    line.bind(expires=600, timeout=10_000)
    line.give(TIMER, 570.0)
    assert line.give(ShutdownRequested(), 570.5) == [registers(1, 3, expires=0)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], [ENDED]),
        ([found("10.0.0.21")], [closes(), ENDED]),
        ([found("10.0.0.21"), opened()], [closes(), ENDED]),
        ([found("10.0.0.21"), refused()], [ENDED]),
    ],
    ids=["resolving", "connecting", "registering", "at the next one"],
)
def test_shutdown_before_the_first_binding_only_closes(events, expected):
    line = Line()
    for event in events:
        line.give(event)
    play(line.machine, [(0.0, ShutdownRequested(), expected), (0.0, None, [])])


def test_shutdown_while_pausing_is_the_end():
    line = Line()
    line.bind()
    line.give(closed(), 10.0)
    play(line.machine, [(11.0, ShutdownRequested(), [ENDED]), (11.0, None, []), (20.0, TIMER, [])])


def test_shutdown_before_anything_is_the_end():
    play(registration(), [(0.0, ShutdownRequested(), [ENDED])])


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([found("10.0.0.21")], [closes()]),
        ([found("10.0.0.21"), opened()], [closes()]),
    ],
    ids=["resolving", "connecting", "registering"],
)
def test_what_is_abandoned_is_closed_and_says_nothing_more(events, expected):
    line = Line()
    for event in events:
        line.give(event)
    play(
        line.machine,
        [
            (0.0, RegistrationAbandoned(), expected),
            (0.0, None, []),
            (0.0, found("10.0.0.21"), []),
            (0.0, opened(), []),
            (0.0, refused(), []),
            (0.0, closed(), []),
            (99.0, TIMER, []),
        ],
    )


def test_an_abandoned_binding_can_be_made_again_from_another_address():
    line = Line()
    line.bind()
    line.give(RegistrationAbandoned(), 10.0)
    moved = msgspec.structs.replace(wanted(FIRST), source="10.0.0.77")
    play(
        line.machine,
        [
            (20.0, moved, [lookup()]),
            (20.0, found("10.0.0.21"), [like(OpenConnection, source="10.0.0.77", connection_id=2)]),
            # It is a new registration: a failure is one, and not a loss.
            (21.0, refused(2), [failed(FailureReason.REGISTRAR_REFUSED)]),
        ],
    )


def test_an_abandoned_registration_begins_anew_at_the_first_registrar():
    line = Line()
    line.connect()
    line.give(line.answer(503, "Busy"))
    line.give(RegistrationAbandoned())
    assert line.give(wanted()) == [lookup(FIRST)]
