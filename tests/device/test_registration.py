from __future__ import annotations

import msgspec
import pytest
from connection_events import ME, PORT, closed, opened, refused
from playing import Dice, containing, like, matching, play

from phonesim.config.device_profile import RegistrationConfig
from phonesim.device import device_log as log
from phonesim.device.actions import (
    BeginHandshake,
    CloseConnection,
    ContinueHandshake,
    OpenConnection,
    SendKeepAlive,
    SendSip,
)
from phonesim.device.events import (
    ExchangeEnded,
    HandshakeAdvanced,
    HandshakeFailed,
    LookupAnswered,
    LookupRequested,
    MalformedReceived,
    PrimaryAnswered,
    ProvisioningLearned,
    Registered,
    RegistrarAddress,
    RegistrationAbandoned,
    RegistrationEnded,
    RegistrationFailed,
    RegistrationLost,
    RegistrationMissed,
    RegistrationWanted,
    ShutdownRequested,
    SipMessageReceived,
    SipMessageWanted,
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
    response_to,
)
from phonesim.wire.sipae import (
    AUTHENTICATION_INFO,
    AuthenticationInfo,
    Offer,
    authentication_info_text,
    challenge_of,
    signature_buffer,
    signing_keys,
)
from phonesim.wire.tls_records import encode_handshake

MAC = bytes.fromhex("0004F2000001")
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
        clock=EPOCH + at,
        timeout=10,
    )


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
        self.first = registrars[0]
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
        self.give(found("10.0.0.21", registrar=self.first), now)
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
        "ms-userservices-state-notification",
    ]
    assert header(request, "Allow-Events") == "registration-notify, vnd-microsoft-provisioning-v2"


def test_over_tcp_there_is_no_trust():
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


def test_a_registrar_that_cannot_be_connected_to_gives_way_to_the_next():
    play(
        registration(),
        [
            (0.0, wanted(), [lookup()]),
            (0.0, found("10.0.0.21"), [opens(1)]),
            (
                1.0,
                refused(1),
                [log.REGISTRAR_FAILED(NAME, "refused", "no luck"), lookup(SECOND)],
            ),
            (
                1.0,
                found("10.0.0.22", registrar=SECOND),
                [opens(2, SECOND, address="10.0.0.22", at=1.0)],
            ),
            (
                2.0,
                refused(2, ConnectFailure.TLS_FAILED),
                [failed(FailureReason.TLS_FAILED, containing("fe02", "no luck"))],
            ),
            (2.0, None, []),
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
        (400, FailureReason.REGISTRATION_REJECTED),
        (401, FailureReason.REGISTRATION_UNAUTHORIZED),
        (403, FailureReason.REGISTRATION_FORBIDDEN),
        (404, FailureReason.REGISTRATION_NOT_FOUND),
        (407, FailureReason.REGISTRATION_UNAUTHORIZED),
        (423, FailureReason.REGISTRATION_REJECTED),
        (408, FailureReason.REGISTRAR_UNAVAILABLE),
        (480, FailureReason.REGISTRAR_UNAVAILABLE),
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
                    log.REGISTER_ANSWER(status, "Said No", 1, "4004 no"),
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
    told = log.REGISTER_ANSWER(403, "No", 1, "4004 no reason")
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
    line = Line(password="other")
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
    assert count == 10
    assert outputs[-1] == failed(FailureReason.REGISTRATION_UNAUTHORIZED)


@pytest.mark.parametrize(
    "challenge",
    [
        Challenge(scheme="Kerberos", parameters=(("realm", "r"), ("targetname", "t"))),
        Challenge(scheme="TLS-DSK", parameters=(("realm", "r"),)),
        Challenge(scheme="Digest", parameters=(("realm", "r"), ("nonce", "n"), ("algorithm", "X"))),
        Challenge(scheme="Digest", parameters=(("realm", "r"), ("nonce", "n"), ("qop", "x"))),
        Challenge(scheme="Digest"),
    ],
    ids=["another scheme", "no target", "another algorithm", "another qop", "nothing"],
)
def test_a_challenge_that_cannot_be_answered_is_a_refusal(challenge):
    line = Line(registrars=(FIRST,))
    line.connect()
    outputs = line.give(line.answer(401, "Unauthorized", challenges=(challenge,)))
    detail = containing(f"offers {challenge.scheme}, the phone has tls-dsk, digest")
    assert outputs[-1] == failed(FailureReason.REGISTRATION_NO_COMMON_SCHEME, detail)


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


# --- TLS-DSK ---

DSK_OFFER = Offer(scheme="TLS-DSK", realm="r", targetname="fe01.contoso.com", version=4)
KEYS = signing_keys(bytes(range(128)), "sha1")
FLIGHT = encode_handshake((1, b"flight"))


def offered(line, **fields):
    challenge = challenge_of(msgspec.structs.replace(DSK_OFFER, **fields))
    return line.answer(401, "Unauthorized", challenges=(challenge,))


def shaken(line, now=0.0, until=EPOCH + 1e6):
    """Take a line that waits for its first answer to its first signed REGISTER."""
    (begin,) = line.give(offered(line), now)
    number = begin.handshake_id
    line.give(HandshakeAdvanced(handshake_id=number, flight=FLIGHT), now)
    line.give(offered(line, opaque="A1", gssapi_data=FLIGHT), now)
    done = HandshakeAdvanced(handshake_id=number, flight=b"", keys=KEYS, valid_until=until)
    return line.give(done, now)


def signed(event, number):
    """The answer, signed as the Registrar signs its answer of that number."""
    response = event.message
    buffer = signature_buffer("TLS-DSK", "r", "fe01.contoso.com", 4, "0A1B2C3D", number, response)
    info = AuthenticationInfo(
        scheme="TLS-DSK",
        realm="r",
        targetname="fe01.contoso.com",
        version=4,
        opaque="A1",
        srand="0A1B2C3D",
        snum=number,
        rspauth=KEYS.server.sign(buffer),
    )
    headers = ((AUTHENTICATION_INFO, authentication_info_text(info)), *response.headers)
    return msgspec.structs.replace(
        event, message=msgspec.structs.replace(response, headers=headers)
    )


def test_a_handshake_takes_four_registers_of_one_call():
    line = Line()
    line.connect()
    first = line.sent
    assert line.give(offered(line)) == [like(BeginHandshake, certificate=CERTIFICATE, trust=CHAIN)]
    (second,) = line.give(HandshakeAdvanced(handshake_id=1, flight=FLIGHT))
    assert second == registers(1, 2, call_id=first.call_id)
    assert "gssapi-data" in line.credentials()
    going_on = offered(line, opaque="A1", gssapi_data=FLIGHT)
    assert line.give(going_on) == [ContinueHandshake(handshake_id=1, received=FLIGHT)]
    (third,) = line.give(HandshakeAdvanced(handshake_id=1, flight=FLIGHT))
    assert third == registers(1, 3, call_id=first.call_id)
    line.give(offered(line, opaque="A1", gssapi_data=FLIGHT))
    done = HandshakeAdvanced(handshake_id=1, flight=b"", keys=KEYS, valid_until=EPOCH + 1e6)
    (fourth,) = line.give(done)
    assert fourth == registers(1, 4, call_id=first.call_id)
    assert (line.credentials()["cnum"], "gssapi-data" in line.credentials()) == ("1", False)
    assert line.give(signed(line.ok(timeout=10_000), 1), 1.0) == [ended(1.0), registered()]
    (refresh,) = line.give(TIMER, 571.0)
    assert refresh == registers(1, 5)
    assert line.credentials()["cnum"] == "2"
    assert line.give(signed(line.ok(), 2), 571.0)[-1] == registered(is_refresh=True)


def test_an_answer_that_is_not_signed_counts_as_none():
    line = Line(registrars=(FIRST,))
    line.connect()
    shaken(line)
    play(
        line.machine,
        [
            (1.0, line.ok(), [log.SIP_UNVERIFIED("200", "it is not signed")]),
            (2.0, signed(line.ok(), 1), [ended(2.0), matching(log.REGISTERED), registered()]),
        ],
    )


def test_a_registrar_of_which_nothing_can_be_believed_is_given_up_and_told():
    line = Line(registrars=(FIRST,))
    line.connect()
    shaken(line)
    assert line.give(line.answer(403, "Forbidden"), 1.0) == []
    assert line.give(TIMER, 32.0)[-1] == failed(
        FailureReason.REGISTRAR_UNVERIFIED, containing("it is not signed")
    )


def test_a_handshake_that_fails_gives_way_to_the_next_registrar():
    line = Line()
    line.connect()
    line.give(offered(line))
    outputs = line.give(HandshakeFailed(handshake_id=1, detail="untrusted"), 1.0)
    assert outputs == [ended(1.0), closes(), lookup(SECOND)]
    line.give(found("10.0.0.22", registrar=SECOND), 1.0)
    line.give(opened(2), 1.0)
    assert line.sent.credentials == ()
    line.give(offered(line), 1.0)
    assert line.give(HandshakeFailed(handshake_id=2, detail="bad"), 1.0)[-1] == failed(
        FailureReason.REGISTRATION_HANDSHAKE_FAILED, containing("untrusted", "fe02", "bad")
    )


def test_while_a_handshake_is_prepared_a_second_challenge_is_dropped():
    line = Line()
    line.connect()
    challenge = offered(line)
    line.give(challenge)
    play(line.machine, [(0.0, challenge, [matching(log.SIP_IGNORED)])])


def test_what_comes_of_a_handshake_after_the_line_is_lost_is_dropped():
    line = Line()
    line.connect()
    line.give(offered(line))
    line.give(closed())
    assert line.give(HandshakeAdvanced(handshake_id=1, flight=FLIGHT)) == []


def test_keys_are_renewed_over_the_same_connection_before_their_time():
    line = Line()
    line.connect()
    shaken(line, until=EPOCH + 400)
    line.give(signed(line.ok(timeout=10_000), 1))
    assert line.deadline() == (100.0, "authenticate anew")
    (sent,) = line.give(TIMER, 100.0)
    assert sent == registers(1, 4, credentials=())
    shaken(line, 100.0)
    assert line.give(signed(line.ok(timeout=10_000), 1), 100.0)[-1] == registered(is_refresh=True)
    assert line.deadline() == (670.0, "refresh")


def test_a_registrar_that_has_forgotten_the_keys_gets_new_ones():
    line = Line()
    line.connect()
    shaken(line)
    line.give(signed(line.ok(timeout=10_000), 1))
    line.give(TIMER, 570.0)
    shaken(line, 570.0)
    assert line.give(signed(line.ok(), 1), 570.0)[-1] == registered(is_refresh=True)


def test_the_deregistration_is_signed_too():
    line = Line()
    line.connect()
    shaken(line)
    line.give(signed(line.ok(), 1))
    line.give(ShutdownRequested(), 10.0)
    assert (line.sent.expires, line.credentials()["cnum"]) == (0, "2")
    assert line.give(line.answer(200, "OK"), 10.0) == []
    assert line.give(signed(line.answer(200, "OK"), 2), 10.0) == [closes(), ENDED]


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
    assert count == 10
    assert outputs[-1] == failed(FailureReason.REGISTRATION_REJECTED)


# --- losing the connection ---


def test_a_lost_connection_is_made_again_after_a_pause():
    line = Line()
    line.bind()
    play(
        line.machine,
        [
            (100.0, closed(), [log.REGISTRATION_LOST(NAME, "closed by the server"), lost()]),
            # The dice give the middle of 1 to 2 times the delay.
            (100.0, None, [(107.5, "connect again")]),
            (107.0, TIMER, []),
            (107.5, TIMER, [lookup()]),
            (107.5, found("10.0.0.21"), [opens(2, at=107.5)]),
            (108.0, opened(2), [registers(2, 1)]),
        ],
    )


def test_a_registration_made_again_is_no_refresh():
    line = Line()
    line.bind()
    line.give(closed(), 100.0)
    line.give(TIMER, 107.5)
    line.connect(107.5)
    assert line.give(line.ok(), 108.5) == [ended(1.0), registered()]


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
    assert pauses == [7.5, 15.0, 30.0, 60.0, 90.0, 90.0]
    now = line.deadline()[0]
    line.give(TIMER, now)
    line.bind(now)
    line.give(closed(line.number), now)
    assert line.deadline()[0] - now == 7.5


def missed(*registrars):
    detail = "; ".join(f"{each.host}: NXDOMAIN, no address" for each in registrars)
    return RegistrationMissed(detail=detail)


def test_after_a_loss_only_the_first_registrar_is_tried_until_it_has_been_missed_long_enough():
    line = Line(failover_delay=20)
    line.bind()
    play(
        line.machine,
        [
            (0.0, closed(), [lost()]),
            (7.5, TIMER, [lookup()]),
            (7.5, found(rcode="NXDOMAIN"), [missed(FIRST)]),
            # 15 s later, but by then fail-over is due: at 1.5 times 20 s.
            (8.0, None, [(22.5, "connect again")]),
            (22.5, TIMER, [lookup()]),
            (22.5, found(rcode="NXDOMAIN"), [missed(FIRST)]),
            (22.5, None, [(30.0, "connect again")]),
            (30.0, TIMER, [lookup()]),
            (30.0, found(rcode="NXDOMAIN"), [lookup(SECOND)]),
            (30.0, found(registrar=SECOND, rcode="NXDOMAIN"), [missed(FIRST, SECOND)]),
            (30.0, None, [(90.0, "connect again")]),
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
    assert line.give(TIMER, 17.5) == [lookup(FIRST)]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, FailureReason.REGISTRATION_UNAUTHORIZED),
        (403, FailureReason.REGISTRATION_FORBIDDEN),
        (404, FailureReason.REGISTRATION_NOT_FOUND),
    ],
)
def test_a_refresh_that_is_refused_is_the_end_of_the_sign_in(status, reason):
    line = Line()
    line.bind(expires=600, timeout=10_000)
    line.give(TIMER, 570.0)
    assert line.give(line.answer(status, "No"), 571.0) == [
        ended(1.0),
        like(RegistrationLost, registrar=NAME),
        closes(),
        failed(reason),
    ]
    assert line.deadline() is None


@pytest.mark.parametrize("status", [408, 480, 500, 503, 504])
def test_a_refresh_that_fails_for_now_is_tried_again(status):
    line = Line()
    line.bind(expires=600, timeout=10_000)
    line.give(TIMER, 570.0)
    assert line.give(line.answer(status, "Later"), 571.0) == [
        ended(1.0),
        like(RegistrationLost, registrar=NAME),
        closes(),
    ]
    assert line.deadline() == (578.5, "connect again")


def test_a_connection_lost_while_refreshing_is_made_again():
    line = Line()
    line.bind(expires=600, timeout=10_000)
    line.give(TIMER, 570.0)
    assert line.give(closed(), 571.0) == [lost()]
    assert line.deadline() == (578.5, "connect again")


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
            (10.0, None, [(17.5, "connect again")]),
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


def test_a_deregistration_that_is_challenged_is_sent_again():
    line = Line()
    line.connect()
    line.give(line.challenge(nonce="n1"))
    line.give(line.ok())
    line.give(ShutdownRequested(), 10.0)
    assert line.give(line.challenge(nonce="n2"), 10.5) == [registers(1, 4, expires=0)]
    assert line.credentials()["nonce"] == "n2"
    assert line.deadline() == (12.0, "give the deregistration up")
    assert line.give(line.answer(200, "OK"), 11.0) == [closes(), ENDED]


def test_a_deregistration_whose_credentials_are_refused_is_the_end():
    line = Line()
    line.connect()
    line.give(line.challenge(nonce="n1"))
    line.give(line.ok())
    line.give(ShutdownRequested(), 10.0)
    line.give(line.challenge(nonce="n2"), 10.5)
    assert line.give(line.challenge(nonce="n3"), 10.6) == [closes(), ENDED]


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


# --- redirects ---


def redirect(line, *uris, status=301):
    return line.answer(status, "Redirect", contacts=tuple(Contact(uri=uri) for uri in uris))


def test_a_redirect_closes_and_goes_to_the_home_pool():
    line = Line()
    line.connect()
    play(
        line.machine,
        [
            (
                1.0,
                redirect(line, "sip:home.contoso.com:5061;transport=tls"),
                [
                    log.REGISTER_ANSWER(301, "Redirect", 1, ""),
                    log.REGISTRAR_REDIRECTED(NAME, "home.contoso.com:5061"),
                    ended(1.0),
                    closes(),
                    LookupRequested(
                        lookup_id="registration:registrar", qname="home.contoso.com", qtype="A"
                    ),
                ],
            ),
        ],
    )


def test_a_redirect_to_an_address_needs_no_lookup_and_takes_its_transport():
    line = Line()
    line.connect()
    assert line.give(redirect(line, "sip:192.168.74.5;transport=tcp", status=302), 1.0) == [
        ended(1.0),
        closes(),
        like(
            OpenConnection,
            connection_id=2,
            address="192.168.74.5",
            port=5060,
            transport="tcp",
            trust=None,
        ),
    ]
    line.give(opened(2), 2.0)
    assert line.sent.cseq == 1
    home = RegistrarAddress(
        host="192.168.74.5", port=5060, transport="tcp", source="redirect:fe01.contoso.com"
    )
    assert line.give(line.ok(), 3.0) == [ended(1.0), registered(home)]


def test_redirects_end():
    line = Line(registrars=(FIRST,), maximum_redirects=2)
    line.connect()
    for number in range(2, 4):
        line.give(redirect(line, f"sip:10.0.0.{number}"), 1.0)
        line.give(opened(number), 1.0)
    outputs = line.give(redirect(line, "sip:10.0.0.9"), 1.0)
    assert outputs == [ended(), closes(3), failed(FailureReason.REGISTRAR_REDIRECTS)]


@pytest.mark.parametrize("uris", [(), ("sip:x;transport=udp",), ("tel:+1",)])
def test_a_redirect_to_nowhere_is_a_refusal(uris):
    line = Line(registrars=(FIRST,))
    line.connect()
    outputs = line.give(redirect(line, *uris))
    assert outputs[-1] == failed(FailureReason.REGISTRATION_REJECTED, containing("301"))


# --- what a refresh can find ---


@pytest.mark.parametrize("action", ["added", "fixed"])
def test_a_refresh_that_found_no_binding_makes_the_phone_register_anew(action):
    line = Line()
    line.bind(expires=600, timeout=10_000)
    first = line.sent
    line.give(TIMER, 570.0)
    headers = (("presence-state", f'register-action="{action}";primary-cluster-type="central"'),)
    outputs = line.give(line.ok(headers=headers), 571.0)
    assert outputs == [ended(1.0), like(RegistrationLost, registrar=NAME), registers(1, 1)]
    assert line.sent.call_id != first.call_id
    assert line.sent.sender.tag != first.sender.tag
    assert line.give(line.ok(headers=headers), 572.0) == [ended(1.0), registered()]


def test_a_refresh_that_found_one_does_not():
    line = Line()
    line.bind(expires=600, timeout=10_000)
    line.give(TIMER, 570.0)
    headers = (("presence-state", 'register-action="refreshed"'),)
    assert line.give(line.ok(headers=headers), 571.0)[-1] == registered(is_refresh=True)


def test_what_a_lync_registrar_says_of_itself_is_told_once():
    line = Line()
    line.connect()
    (mine,) = line.sent.contacts
    gruu = msgspec.structs.replace(mine, expires=600, parameters=(("gruu", "sip:me;gruu"),))
    state = (
        'register-action="added";primary-cluster-type="remote"'
        ';is-connected-to-primary="no";user-services-state=unavailable'
    )
    headers = (("presence-state", state), ("ms-user-logon-data", "RemoteUser"))
    told = log.REGISTRAR_STATE(NAME, "remote", "no", "unavailable", "RemoteUser", "sip:me;gruu")
    event = like(Registered, is_survivable=True)
    message = line.ok(contacts=(gruu,), headers=headers)
    play(line.machine, [(0.0, message, [told, ended(), event])])
    line.give(TIMER, 570.0)
    refreshed = tuple((name, value.replace("added", "refreshed")) for name, value in headers)
    outputs = line.machine.handle(line.ok(contacts=(gruu,), headers=refreshed), 571.0)
    assert not [each for each in outputs if each == matching(log.REGISTRAR_STATE)]


OFFER = (("Allow-Events", "presence,vnd-microsoft-provisioning-v2"),)


def test_in_band_provisioning_is_asked_for_where_it_is_offered_and_not_at_every_refresh():
    line = Line()
    line.connect()
    asked, bound = line.give(line.ok(headers=OFFER, timeout=None))[1:]
    assert bound == registered()
    assert asked.endpoint.sip_uri == SIP_URI
    assert asked.endpoint.contact == f"sip:{ME}:{PORT};transport=tls"
    line.give(TIMER, 570.0)
    assert line.give(line.ok(headers=OFFER), 571.0) == [ended(1.0), registered(is_refresh=True)]


def test_a_profile_can_do_without_in_band_provisioning():
    line = Line(provisioning=False)
    line.connect()
    assert line.give(line.ok(headers=OFFER)) == [ended(), registered()]


# --- time may mend it ---


@pytest.mark.parametrize(
    ("value", "pause"),
    [("120", 180.0), ("9999", 450.0), ("1", 7.5), ("soon", 7.5), ("60 (busy)", 90.0)],
)
def test_retry_after_is_waited_for_as_far_as_the_profile_goes(value, pause):
    line = Line(registrars=(FIRST,), maximum_retry_after=300)
    line.bind(expires=600, timeout=10_000)
    line.give(TIMER, 570.0)
    line.give(line.answer(503, "Busy", headers=(("Retry-After", value),)), 571.0)
    assert line.deadline() == (571.0 + pause, "connect again")


def test_a_sign_in_that_fails_says_for_how_long_it_is_unwanted():
    line = Line(registrars=(FIRST,))
    line.connect()
    outputs = line.give(line.answer(503, "Busy", headers=(("Retry-After", "120"),)))
    assert outputs[-1] == failed(FailureReason.REGISTRAR_UNAVAILABLE)
    assert outputs[-1].retry_after == 120


def test_a_disabled_user_is_one_whatever_the_status():
    line = Line(registrars=(FIRST,))
    line.connect()
    headers = (("ms-diagnostics", '4141;reason="User disabled"'),)
    outputs = line.give(line.answer(403, "Forbidden", headers=headers))
    assert outputs[-1] == failed(FailureReason.USER_DISABLED)


# --- the server deregisters ---


def notify(line, kind, *, number=1, method="NOTIFY", headers=(), body=None):
    request = SipRequest(
        method=method,
        uri=line.sent.contacts[0].uri,
        vias=("SIP/2.0/TLS 10.0.0.21:5061;branch=z9hG4bK1",),
        sender=NameAddress(uri=SIP_URI, tag="server"),
        recipient=line.sent.sender,
        call_id=line.sent.call_id,
        cseq=1,
        headers=(
            ("Event", "registration-notify"),
            ("ms-diagnostics-public", '4141;reason="User disabled"'),
            *headers,
        ),
        body=f"deregistered;event={kind}".encode() if body is None else body,
    )
    return SipMessageReceived(connection_id=number, message=request)


ANSWERS = like(
    SendSip, connection_id=1, message=like(SipResponse, status=200, cseq_method="NOTIFY")
)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("unregistered", FailureReason.REGISTRATION_DISPLACED),
        ("rejected", FailureReason.USER_DISABLED),
    ],
)
def test_a_phone_that_is_thrown_out_answers_and_stays_out(kind, reason):
    line = Line()
    line.bind()
    play(
        line.machine,
        [
            (
                9.0,
                notify(line, kind),
                [
                    log.DEREGISTERED(NAME, kind, "4141 User disabled"),
                    ANSWERS,
                    like(RegistrationLost, registrar=NAME),
                    closes(),
                    failed(reason, containing(kind, "4141")),
                ],
            ),
            (9.0, None, []),
        ],
    )


@pytest.mark.parametrize("kind", ["deactivated", "shutdown"])
def test_a_phone_whose_user_moved_begins_again_soon(kind):
    line = Line()
    line.bind()
    play(
        line.machine,
        [
            (9.0, notify(line, kind), [ANSWERS, like(RegistrationLost), closes()]),
            # The dice give half of the shortest pause.
            (9.0, None, [(11.5, "connect again")]),
            (11.5, TIMER, [lookup()]),
        ],
    )


PREFERS = (("p-preferred-registrar", "<sip:fe02.contoso.com:5061;transport=tls>"),)


def test_a_phone_that_is_to_prefer_another_registrar_goes_there_and_loses_nothing():
    line = Line()
    line.bind()
    event = notify(line, "preferred-registrar-change", headers=PREFERS)
    assert line.give(event, 6.5) == [ANSWERS, closes()]
    assert line.deadline() == (9.0, "connect again")
    assert line.give(TIMER, 9.0) == [lookup(SECOND)]
    line.give(found("10.0.0.22", registrar=SECOND), 9.0)
    line.give(opened(2), 9.0)
    preferred = msgspec.structs.replace(SECOND, source="preferred:fe01.contoso.com")
    assert line.give(line.ok(), 10.0) == [ended(1.0), registered(preferred)]


def test_it_comes_back_if_that_one_refuses():
    line = Line()
    line.bind()
    line.give(notify(line, "preferred-registrar-change", headers=PREFERS), 6.5)
    line.give(TIMER, 9.0)
    assert line.give(found(registrar=SECOND, rcode="NXDOMAIN"), 9.0) == [lookup()]
    line.connect(10.0)
    assert line.give(line.ok(), 11.0) == [ended(1.0), registered()]


def test_it_has_lost_its_registration_if_both_do():
    line = Line()
    line.bind()
    line.give(notify(line, "preferred-registrar-change", headers=PREFERS), 6.5)
    line.give(TIMER, 9.0)
    line.give(found(registrar=SECOND, rcode="NXDOMAIN"), 9.0)
    assert line.give(found(rcode="NXDOMAIN"), 9.0) == [like(RegistrationLost, registrar=NAME)]
    assert line.deadline()[1] == "connect again"


@pytest.mark.parametrize("headers", [(), (("p-preferred-registrar", "tel:+1"),)])
def test_a_preference_for_nobody_is_a_deregistration(headers):
    line = Line()
    line.bind()
    outputs = line.give(notify(line, "preferred-registrar-change", headers=headers), 9.0)
    assert outputs == [ANSWERS, like(RegistrationLost), closes()]


def test_a_benotify_is_not_answered():
    line = Line()
    line.bind()
    outputs = line.give(notify(line, "deactivated", method="BENOTIFY"), 9.0)
    assert outputs == [like(RegistrationLost), closes()]


def test_a_notify_about_anything_else_is_passed_over():
    line = Line()
    line.bind()
    play(line.machine, [(9.0, notify(line, "", body=b"hello"), [matching(log.SIP_IGNORED)])])


def test_a_notify_while_deregistering_is_answered_and_changes_nothing():
    line = Line()
    line.bind()
    line.give(ShutdownRequested(), 9.0)
    assert line.give(notify(line, "rejected"), 9.5) == [ANSWERS]
    assert line.deadline() == (11.0, "give the deregistration up")


# --- the primary Registrar ---


def provisioned(*registrars):
    return ProvisioningLearned(registrars=registrars, web_services=None)


def test_a_phone_at_the_backup_returns_when_the_primary_answers():
    line = Line()
    line.connect()
    line.give(line.answer(503, "Busy"))
    line.give(found("10.0.0.22", registrar=SECOND))
    line.give(opened(2))
    line.give(line.ok())
    assert not line.machine.is_elsewhere
    line.give(provisioned(FIRST, SECOND))
    assert line.machine.is_elsewhere
    assert line.machine.primary == FIRST
    assert line.give(PrimaryAnswered(registrar=FIRST), 60.0) == [closes(2), lookup()]
    line.connect(60.0)
    assert line.give(line.ok(), 61.0) == [ended(1.0), registered()]
    assert not line.machine.is_elsewhere


def test_what_another_machine_sends_leaves_over_the_connection_and_counts_as_a_keep_alive():
    line = Line()
    line.connect()
    line.give(line.ok(expires=3600, timeout=100))
    message = response_to(line.sent, 200, "OK")
    assert line.give(SipMessageWanted(message=message), 50.0) == [
        SendSip(connection_id=1, message=message)
    ]
    assert line.deadline() == (130.0, "keep-alive")
    line.give(closed(), 60.0)
    assert line.give(SipMessageWanted(message=message), 60.0) == []


def test_what_another_machine_asks_carries_credentials_of_its_own():
    line = Line()
    line.connect()
    line.give(line.challenge())
    line.give(line.ok())
    request = msgspec.structs.replace(line.sent, method="SUBSCRIBE", uri=SIP_URI, credentials=())
    line.give(SipMessageWanted(message=request), 1.0)
    assert line.credentials()["nc"] == "00000002"
    assert line.credentials()["uri"] == SIP_URI
    assert digest_verifies(line.sent.credentials[0], method="SUBSCRIBE", password=PIN)


# --- addresses that are remembered ---


@pytest.mark.parametrize("rcode", ["TIMEOUT", "SERVFAIL"])
def test_a_name_that_dns_does_not_resolve_is_tried_where_it_was(rcode):
    line = Line()
    line.bind()
    assert line.machine.addresses(FIRST.host) == ("10.0.0.21",)
    line.give(closed(), 10.0)
    line.give(TIMER, 17.5)
    play(
        line.machine,
        [
            (
                17.5,
                found(rcode=rcode),
                [
                    matching(log.REGISTRAR_REMEMBERED, registrar=NAME, addresses="10.0.0.21"),
                    opens(2, at=17.5),
                ],
            )
        ],
    )
