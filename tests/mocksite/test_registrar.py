import random

import msgspec
import pytest
from dsk_client import DskClient

from phonesim.config.fault import SetPinState
from phonesim.config.site_profile import RegistrarConfig, UserRange
from phonesim.mocksite.exchange import (
    CloseClientConnection,
    ConnectionAccepted,
    ConnectionLost,
    DeregistrationOrdered,
    KeepAliveReceived,
    MalformedArrived,
    Report,
    SendSipToClient,
    ServerTimerExpired,
    SipReceived,
)
from phonesim.mocksite.homes import HomeBook
from phonesim.mocksite.registrar import KEEP_ALIVE_MARGIN, Registrar
from phonesim.mocksite.users import UserDirectory
from phonesim.wire.endpoint import gruu, sip_instance
from phonesim.wire.inband_provisioning import decode_inband_provisioning
from phonesim.wire.registration_event import deregistration_of
from phonesim.wire.sip import (
    Contact,
    NameAddress,
    SipRequest,
    SipResponse,
    decode_sip,
    encode_sip,
    header,
    response_to,
)
from phonesim.wire.sip_server import diagnostics_of

EPOCH = 1_767_596_400
ALICE = "sip:alice@contoso.com"
BOB = "sip:bob@contoso.com"
EPID = "492a7ce35f"
INSTANCE = sip_instance(EPID)
USERS = (
    UserRange(sip_uri=ALICE, number="+14255550001", pin="24680"),
    UserRange(sip_uri=BOB, number="+14255550002", pin="13579"),
)
LYNC01 = {"name": "lync01", "address": "10.0.0.21", "fqdn": "fe01.contoso.com"}
CONTACT = Contact(
    uri="sip:10.0.0.100:49152;transport=tls;ms-opaque=0123456789",
    instance=INSTANCE.lower(),
    parameters=(("proxy", "replace"),),
)
HEADERS = (
    ("User-Agent", "CPE/4.0.7577.4066"),
    ("Supported", "gruu-10, adhoclist, msrtc-event-categories"),
    ("ms-keep-alive", "UAC;hop-hop=yes"),
    ("Event", "registration"),
)


def certificate_of(subject, until=EPOCH + 10_000_000):
    return b"CERTIFICATE|%s|%d|%d" % (subject, EPOCH, until)


def register(cseq=1, **fields):
    values = {
        "method": "REGISTER",
        "uri": "sip:contoso.com",
        "vias": ("SIP/2.0/TLS 10.0.0.100:49152;branch=z9hG4bK1",),
        "sender": NameAddress(uri=ALICE, tag="a1", epid=EPID),
        "recipient": NameAddress(uri=ALICE),
        "call_id": "call-1",
        "contacts": (CONTACT,),
        "expires": 600,
        "headers": HEADERS,
    }
    return SipRequest(cseq=cseq, **{**values, **fields})


class Site:
    """A Registrar and a phone with one connection to it, over which it signs for Alice."""

    def __init__(self, authority, *, changes=(), homes=None, **config):
        self.users = UserDirectory(USERS, changes)
        self.certificate = certificate_of(b"alice@contoso.com")
        self.clients = {}
        for sip_uri in (ALICE, BOB):
            self.users.publish(self.users.by_sip_uri(sip_uri), "phone", self.certificate)
        self.registrar = Registrar(
            RegistrarConfig(**{**LYNC01, **config}),
            self.users,
            authority,
            random.Random(1),
            EPOCH,
            homes,
        )
        self.connect(1)

    def connect(self, connection_id, now=0.0, **fields):
        values = {
            "peer": "10.0.0.100",
            "peer_port": 49152,
            "transport": "tls",
            **fields,
        }
        event = ConnectionAccepted(connection_id=connection_id, **values)
        self.clients.pop(connection_id, None)
        return self.registrar.handle(event, now)

    def send(self, request, now=0.0, connection_id=1):
        """Send with Alice's signature; return the answer without the Registrar's."""
        client = self.clients.get(connection_id)
        if client is None:
            client = self.clients[connection_id] = DskClient(
                lambda each: self.send_unsigned(each, now, connection_id), self.certificate
            )
            client.shake(register(call_id="handshake"))
        return client.verified(self.send_unsigned(client.sign(request), now, connection_id))

    def send_unsigned(self, request, now=0.0, connection_id=1):
        event = SipReceived(connection_id=connection_id, message=request)
        sent, *others = self.registrar.handle(event, now)
        self.reports = [each for each in others if isinstance(each, Report)]
        self.notices = [each for each in others if isinstance(each, SendSipToClient)]
        assert isinstance(sent, SendSipToClient)
        assert sent.connection_id == connection_id
        return sent.message

    def contacts(self, now=0.0):
        return [(c.instance, c.expires) for c in self.registrar.contacts(ALICE, now)]


@pytest.fixture
def site(authority):
    return Site(authority)


def refusal(response):
    return response.status, (header(response, "ms-diagnostics") or "").partition(";")[0]


def test_a_registration_is_answered_as_a_lync_registrar_does(site):
    request = register()
    response = site.send(request)
    assert site.reports == []
    assert len(response.recipient.tag) == 32
    assert set(response.recipient.tag) <= set("0123456789ABCDEF")
    assert response == response_to(
        request,
        200,
        "OK",
        to_tag=response.recipient.tag,
        contacts=(
            Contact(
                uri=CONTACT.uri,
                expires=600,
                instance=INSTANCE.lower(),
                parameters=(("gruu", gruu(ALICE, INSTANCE)),),
            ),
        ),
        expires=600,
        headers=(
            ("ms-keep-alive", "UAS; tcp=no; hop-hop=yes; end-end=no; timeout=300"),
            (
                "presence-state",
                'register-action="added";primary-cluster-type="central"'
                ';is-connected-to-primary="yes"',
            ),
            (
                "Allow-Events",
                "vnd-microsoft-provisioning,vnd-microsoft-roaming-contacts,"
                "vnd-microsoft-roaming-ACL,presence,presence.wpending,"
                "vnd-microsoft-roaming-self,vnd-microsoft-provisioning-v2",
            ),
            ("Supported", "adhoclist"),
            ("Supported", "msrtc-event-categories"),
            ("Server", "RTC/4.0"),
        ),
    )


def register_action(response):
    return header(response, "presence-state").split('"')[1]


def test_a_registration_is_refreshed_and_ends(site):
    assert register_action(site.send(register(1))) == "added"
    assert register_action(site.send(register(2), 300)) == "refreshed"
    assert site.contacts(800) == [(INSTANCE.lower(), 100)]
    assert site.contacts(900) == []
    assert register_action(site.send(register(3), 900)) == "added"


def test_a_phone_that_boots_again_is_added_in_place_of_itself(site):
    site.send(register(1))
    response = site.send(register(1, call_id="call-2"), 10)
    assert register_action(response) == "added"
    assert len(response.contacts) == 1


def test_a_phone_deregisters(site):
    site.send(register(1))
    response = site.send(register(2, expires=0), 10)
    assert (response.status, response.expires, response.contacts) == (200, 0, ())
    assert header(response, "presence-state") is None
    assert site.contacts(10) == []
    assert site.send(register(3, expires=0), 20).status == 200


def test_every_binding_ends_with_a_star(site):
    site.send(register(1))
    star = (Contact(uri="*"),)
    assert site.send(register(2, contacts=star)).status == 400
    assert site.contacts() != []
    assert site.send(register(3, contacts=star, expires=0)).status == 200
    assert site.contacts() == []


def test_bindings_can_be_asked_for(site):
    site.send(register(1))
    response = site.send(register(2, contacts=()), 100)
    assert [(contact.uri, contact.expires) for contact in response.contacts] == [(CONTACT.uri, 500)]


@pytest.mark.parametrize(
    ("header_value", "contact_value", "granted"),
    [
        (600, None, 600),
        (None, None, 600),
        (60, None, 300),
        (7200, None, 900),
        (600, 400, 400),
        (0, 400, 400),
    ],
)
def test_the_expiry_is_moved_into_the_range(site, header_value, contact_value, granted):
    contact = msgspec.structs.replace(CONTACT, expires=contact_value)
    response = site.send(register(expires=header_value, contacts=(contact,)))
    assert response.expires == granted
    assert response.contacts[0].expires == granted


@pytest.mark.parametrize(
    ("fields", "status", "diagnostics"),
    [
        ({"sender": NameAddress(uri=BOB, tag="a", epid=EPID)}, 403, "4004"),
        ({"uri": "sip:fabrikam.com"}, 404, "1005"),
        (
            {"sender": NameAddress(uri=ALICE, tag="a"), "contacts": (Contact(uri="sip:a@b"),)},
            400,
            "4010",
        ),
        ({"headers": (("Event", "presence"),)}, 489, "4055"),
        ({"headers": (("Supported", "adhoclist,msrtc-event-categories"),)}, 421, "2057"),
        ({"contacts": (CONTACT, CONTACT)}, 400, ""),
        ({"sender": NameAddress(uri=ALICE, tag="a", epid="other")}, 400, ""),
        ({"sender": NameAddress(uri=ALICE, tag="a", epid="é")}, 400, ""),
        (
            {
                "sender": NameAddress(uri=ALICE, tag="a"),
                "contacts": (Contact(uri="sip:a@b", instance="nonsense"),),
            },
            400,
            "",
        ),
        (
            {
                "sender": NameAddress(uri="sip:nobody@contoso.com", tag="a", epid=EPID),
                "recipient": NameAddress(uri="sip:nobody@contoso.com"),
            },
            404,
            "4005",
        ),
        (
            {
                "sender": NameAddress(uri=BOB, tag="a", epid=EPID),
                "recipient": NameAddress(uri=BOB),
            },
            403,
            "4004",
        ),
    ],
)
def test_a_register_that_is_not_right_is_refused(site, said, fields, status, diagnostics):
    response = site.send(register(**fields))
    assert refusal(response) == (status, diagnostics)
    assert site.reports == [said(f"REGISTER answered {status}")]
    assert response.recipient.tag
    assert site.contacts() == []


def test_refusals_carry_what_their_standard_demands(site):
    bad_event = site.send(register(headers=(("Event", "presence"),)))
    assert header(bad_event, "Allow-Events") == "registration"
    lacking = site.send(register(headers=(("Supported", "msrtc-event-categories"),)))
    assert header(lacking, "Require") == "gruu-10"
    missing = register(sender=NameAddress(uri=ALICE, tag="a"), contacts=())
    assert header(site.send(missing), "ms-diagnostics") == (
        '4010;reason="Missing endpoint identifier";source="fe01.contoso.com"'
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"uri": "sip:CONTOSO.com;transport=tls"},
        {"uri": "sip:fe01.contoso.com:5061"},
        {"sender": NameAddress(uri=ALICE.upper().replace("SIP", "sip"), tag="a", epid=EPID)},
        {"headers": (("supported", "msrtc-event-categories"), ("SUPPORTED", "Gruu-10"))},
        {"headers": (("Event", "registration;x=y"),)},
        {"headers": ()},
        {"contacts": (Contact(uri="sip:10.0.0.100:49152"),)},
        {"sender": NameAddress(uri=ALICE, tag="a")},
    ],
)
def test_what_may_be_written_in_other_ways(site, fields):
    assert site.send(register(**fields)).status == 200
    assert site.contacts() == [(INSTANCE.lower(), 600)]


def test_cseq_has_to_grow_within_a_call(site):
    site.send(register(5))
    assert site.send(register(5)).status == 500
    assert site.send(register(4, expires=0)).status == 500
    assert site.contacts() != []
    assert site.send(register(6)).status == 200
    assert site.send(register(1, call_id="call-2")).status == 200


def test_a_disabled_user_is_refused_once_known(authority):
    change = SetPinState(kind="pin-state", state="disabled")
    site = Site(authority, changes=[change])
    assert site.send_unsigned(register()).status == 401
    assert refusal(site.send(register())) == (403, "4141")


def test_the_oldest_endpoint_makes_room(authority, said):
    site = Site(authority, maximum_endpoints=2)
    epids = ["1111111111", "2222222222", "3333333333"]

    def register_endpoint(epid, cseq=1):
        contact = Contact(uri=f"sip:10.0.0.1;epid={epid}")
        sender = NameAddress(uri=ALICE, tag="a", epid=epid)
        return register(cseq, sender=sender, contacts=(contact,), call_id=epid)

    site.send(register_endpoint(epids[0]), 0)
    site.send(register_endpoint(epids[1]), 1)
    site.send(register_endpoint(epids[0], cseq=2), 2)
    response = site.send(register_endpoint(epids[2]), 3)
    assert site.reports == [said("too many endpoints")]
    (notice,) = site.notices
    assert deregistration_of(notice.message) == "unregistered"
    assert notice.message.recipient.epid == epids[1]
    kept = [sip_instance(epids[0]).lower(), sip_instance(epids[2]).lower()]
    assert [contact.instance for contact in response.contacts] == kept


@pytest.mark.parametrize(
    ("method", "status"),
    [("OPTIONS", 405), ("CANCEL", 481), ("FROBNICATE", 501)],
)
def test_other_methods_are_refused(site, method, status):
    response = site.send(register(method=method))
    assert response.status == status
    assert header(response, "Allow") == ("REGISTER, SUBSCRIBE" if status == 405 else None)


def test_an_ack_is_not_answered(play, site):
    event = SipReceived(connection_id=1, message=register(method="ACK"))
    play(site.registrar, [(0, event, [])])


def test_an_idle_connection_is_closed_and_its_binding_stays(play, said, site):
    limit = 300 + KEEP_ALIVE_MARGIN
    site.send(register(), 0)
    alive = KeepAliveReceived(connection_id=1)
    timer = ServerTimerExpired()
    assert site.registrar.next_deadline() == (limit, "idle connection")
    play(site.registrar, [(100, alive, []), (limit, timer, [])])
    assert site.registrar.next_deadline() == (100 + limit, "idle connection")
    play(
        site.registrar,
        [
            (
                100 + limit,
                timer,
                [CloseClientConnection(connection_id=1), said("no keep-alive in time")],
            ),
            (
                100 + limit + 1,
                SipReceived(connection_id=1, message=register(2)),
                [said("closed connection")],
            ),
            (100 + limit + 2, alive, []),
        ],
    )
    assert site.registrar.next_deadline() is None
    assert site.contacts(500) == [(INSTANCE.lower(), 100)]


def test_a_lost_connection_is_forgotten_and_its_binding_stays(play, site):
    site.send(register(), 0)
    deadline, _ = site.registrar.next_deadline()
    play(
        site.registrar,
        [
            (10, ConnectionLost(connection_id=1), []),
            (10, ConnectionLost(connection_id=1), []),
            (deadline, ServerTimerExpired(), []),
        ],
    )
    assert site.registrar.next_deadline() is None
    assert site.contacts(10) == [(INSTANCE.lower(), 590)]
    site.connect(2, now=20)
    assert register_action(site.send(register(2), 20, connection_id=2)) == "refreshed"


def test_the_wrong_transport_is_not_taken(said, site):
    assert site.connect(3, transport="tcp") == [
        CloseClientConnection(connection_id=3),
        said("a tcp connection is not taken"),
    ]


def test_what_asks_for_nothing_is_reported(play, said, site):
    response = SipResponse(
        status=200,
        reason="OK",
        vias=(),
        sender=NameAddress(uri=ALICE),
        recipient=NameAddress(uri=ALICE),
        call_id="x",
        cseq=1,
        cseq_method="NOTIFY",
    )
    play(
        site.registrar,
        [
            (0, SipReceived(connection_id=1, message=response), [said("to no request")]),
            (
                0,
                MalformedArrived(protocol="sip", source="10.0.0.7", reason="no CSeq"),
                [said("malformed")],
            ),
        ],
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"authentication": ()}, "at least 1 item"),
        ({"expires_default": 100}, "is not between"),
    ],
)
def test_a_registrar_that_makes_no_sense_is_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        RegistrarConfig(name="r", address="10.0.0.1", fqdn="r.contoso.com", **fields)


# --- homes ---

TWO = [
    RegistrarConfig(name=f"lync0{n}", address=f"10.0.0.2{n}", fqdn=f"fe0{n}.contoso.com")
    for n in (1, 2)
]


def connected(response):
    return header(response, "presence-state").rpartition("=")[2].strip('"')


def test_the_backup_says_that_it_is_not_the_primary(authority):
    site = Site(authority, name="lync02", homes=HomeBook(TWO))
    assert connected(site.send(register(1))) == "no"


def test_a_user_of_another_pool_is_redirected_to_the_primary_and_its_backup(authority, said):
    three = RegistrarConfig(name="lync03", address="10.0.0.23", fqdn="fe03.contoso.com")
    site = Site(authority, name="lync03", homes=HomeBook([*TWO, three]))
    response = site.send(register(1))
    assert (response.status, response.expires) == (301, 2592000)
    assert [contact.uri for contact in response.contacts] == [
        "sip:fe01.contoso.com:5061;transport=tls",
        "sip:fe02.contoso.com:5061;transport=tls",
    ]
    assert site.reports == [said("redirected home", is_warning=False)]
    assert site.contacts() == []


# --- deregistration by the server ---


def order(site, kind, now=10.0, **fields):
    actions = site.registrar.handle(DeregistrationOrdered(kind=kind, **fields), now)
    return [
        site.clients[each.connection_id].verified(each.message)
        for each in actions
        if isinstance(each, SendSipToClient)
    ]


@pytest.mark.parametrize(
    ("kind", "diagnostics", "preferred"),
    [
        ("unregistered", None, None),
        ("rejected", 4141, None),
        ("deactivated", 4006, None),
        ("preferred-registrar-change", None, "<sip:fe02.contoso.com:5061;transport=tls>"),
    ],
)
def test_an_endpoint_is_told_that_it_is_deregistered(authority, kind, diagnostics, preferred):
    site = Site(authority, homes=HomeBook(TWO))
    site.send(register(1))
    (notify,) = order(site, kind, registrar="lync02")
    assert (notify.method, notify.uri, notify.call_id) == ("NOTIFY", CONTACT.uri, "call-1")
    assert notify.recipient == NameAddress(uri=ALICE, tag="a1", epid=EPID)
    assert header(notify, "Event") == "registration-notify"
    assert header(notify, "subscription-state") == "terminated;expires=0"
    assert header(notify, "Content-Type") == "text/registration-event"
    assert deregistration_of(notify) == kind
    told = diagnostics_of(notify)
    assert (told and told.id) == diagnostics
    assert header(notify, "p-preferred-registrar") == preferred
    assert decode_sip(encode_sip(notify)) == notify
    assert site.contacts(10) == []
    answer = response_to(notify, 200, "OK")
    (report,) = site.registrar.handle(SipReceived(connection_id=1, message=answer), 11)
    assert "not signed" in report.text
    answer = site.clients[1].sign_answer(answer)
    assert site.registrar.handle(SipReceived(connection_id=1, message=answer), 11) == []


def test_an_answer_counts_once_on_the_connection_where_it_was_awaited(site, said):
    site.send(register(1))
    (notify,) = order(site, "unregistered")
    answer = site.clients[1].sign_answer(response_to(notify, 200, "OK"))
    site.connect(2)
    for connection_id, expected in ((2, [said("to no request")]), (1, [])):
        event = SipReceived(connection_id=connection_id, message=answer)
        assert site.registrar.handle(event, 11) == expected
    again = site.clients[1].sign_answer(response_to(notify, 200, "OK"))
    event = SipReceived(connection_id=1, message=again)
    assert site.registrar.handle(event, 11) == [said("to no request")]


def test_who_was_disabled_stays_out_and_who_was_moved_is_sent_on(authority):
    site = Site(authority, homes=HomeBook(TWO))
    site.send(register(1))
    order(site, "deactivated", registrar="lync02")
    response = site.send(register(2))
    assert response.status == 301
    assert response.contacts[0].uri == "sip:fe02.contoso.com:5061;transport=tls"
    site = Site(authority, homes=HomeBook(TWO))
    site.send(register(1))
    order(site, "rejected")
    assert refusal(site.send(register(2))) == (403, "4141")


@pytest.mark.parametrize(
    ("fields", "now"),
    [({"users": "sip:bob*"}, 10.0), ({}, 601.0)],
    ids=["another user", "a binding that is over"],
)
def test_nobody_else_is_told(site, fields, now):
    site.send(register(1))
    assert order(site, "rejected", now, **fields) == []


def test_a_registrar_prefers_no_change_to_itself(site):
    site.send(register(1))
    assert order(site, "preferred-registrar-change") == []
    assert site.contacts() != []


def test_an_endpoint_without_connection_is_deregistered_unheard(site):
    site.send(register(1))
    site.registrar.handle(ConnectionLost(connection_id=1), 5)
    assert order(site, "unregistered") == []
    assert site.contacts(10) == []


# --- in-band provisioning ---

PROVISIONING = (
    ("Event", "vnd-microsoft-provisioning-v2"),
    ("Supported", "ms-benotify"),
    ("Supported", "ms-piggyback-first-notify"),
)


def subscribe(headers=PROVISIONING, **fields):
    fields = {"uri": ALICE, "headers": headers, "expires": 28800, "call_id": "sub-1", **fields}
    return register(1, method="SUBSCRIBE", **fields)


def test_a_subscriber_is_provisioned_in_the_200(authority):
    site = Site(authority, homes=HomeBook(TWO))
    response = site.send(subscribe())
    assert (response.status, response.expires, response.cseq_method) == (200, 28800, "SUBSCRIBE")
    assert header(response, "Subscription-State") == "active;expires=28800"
    told = decode_inband_provisioning(response.body)
    assert [server.host for server in told.registrars] == ["fe01.contoso.com", "fe02.contoso.com"]
    assert decode_sip(encode_sip(response)) == response


@pytest.mark.parametrize("method", ["NOTIFY", "BENOTIFY"])
def test_a_subscriber_that_cannot_is_notified(authority, method):
    site = Site(authority, homes=HomeBook(TWO))
    headers = PROVISIONING[: 2 if method == "BENOTIFY" else 1]
    response = site.send(subscribe(headers, expires=0))
    assert response.body == b""
    (notice,) = site.notices
    notify = notice.message
    assert (notify.method, notify.call_id, notify.uri) == (method, "sub-1", CONTACT.uri)
    assert header(notify, "Subscription-State") == "terminated;expires=0"
    assert decode_inband_provisioning(notify.body).registrars


def test_no_other_event_can_be_subscribed_to(site):
    assert site.send(subscribe((("Event", "presence"),))).status == 489


def test_a_subscriber_must_be_who_it_says(authority):
    site = Site(authority)
    assert site.send_unsigned(subscribe()).status == 401
    bob = NameAddress(uri=BOB, tag="b1", epid=EPID)
    of_bob = msgspec.structs.replace(subscribe(), sender=bob, recipient=NameAddress(uri=BOB))
    assert refusal(site.send(of_bob)) == (403, "4004")
