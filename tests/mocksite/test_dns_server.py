import pytest

from phonesim.config.site_profile import DnsServerConfig, SrvRecord, Zone
from phonesim.errors import ProfileError
from phonesim.mocksite.dns_server import DnsServer
from phonesim.mocksite.exchange import DnsReceived, MalformedArrived, SendDnsResponse
from phonesim.wire.dns import DnsQuery, DnsRecord, DnsResponse, SrvData

ZONE = Zone(
    origin="Contoso.com.",
    ttl=600,
    a={
        "@": ["10.0.0.1"],
        "fe1": ["10.0.0.21", "10.0.0.22"],
        "Mixed": ["10.0.0.23"],
        "absolute.contoso.com.": ["10.0.0.24"],
    },
    cname={
        "sip": "fe1",
        "alias": "sip",
        "dangling": "nowhere",
        "outside": "www.example.org.",
        "loop1": "loop2",
        "loop2": "loop1",
        "partner": "host.fabrikam.com.",
    },
    srv=(
        SrvRecord(name="_sipinternaltls._tcp", priority=10, port=5061, target="fe1"),
        SrvRecord(name="_sipinternaltls._tcp", priority=20, port=5061, target="fe2.contoso.com."),
        SrvRecord(name="_sip._tls", port=443, target="."),
    ),
)
OTHER_ZONE = Zone(origin="fabrikam.com", a={"host": ["10.0.1.1"]})


def a(name, address, ttl=600):
    return DnsRecord(name, "A", ttl, address)


def cname(name, target):
    return DnsRecord(name, "CNAME", 600, target)


FE1 = (a("fe1.contoso.com", "10.0.0.21"), a("fe1.contoso.com", "10.0.0.22"))
SRV_NAME = "_sipinternaltls._tcp.contoso.com"
SRV = (
    DnsRecord(SRV_NAME, "SRV", 600, SrvData(10, 0, 5061, "fe1.contoso.com")),
    DnsRecord(SRV_NAME, "SRV", 600, SrvData(20, 0, 5061, "fe2.contoso.com")),
)


def new_server(**changes):
    values = {"name": "dns01", "address": "10.0.0.53", "zones": (ZONE, OTHER_ZONE)}
    return DnsServer(DnsServerConfig(**{**values, **changes}))


def query(qname, qtype="A", *, over_tcp=False):
    return DnsReceived(
        query=DnsQuery(id=9, qname=qname, qtype=qtype), client="phone", over_tcp=over_tcp
    )


def answer(qname, qtype, rcode, answers=(), *, over_tcp=False, truncated=False, is_ours=True):
    response = DnsResponse(
        id=9,
        qname=qname,
        qtype=qtype,
        rcode=rcode,
        answers=answers,
        truncated=truncated,
        authoritative=is_ours,
    )
    return SendDnsResponse(response=response, client="phone", over_tcp=over_tcp)


@pytest.mark.parametrize(
    ("qname", "qtype", "rcode", "answers"),
    [
        ("fe1.contoso.com", "A", "NOERROR", FE1),
        ("contoso.com", "A", "NOERROR", (a("contoso.com", "10.0.0.1"),)),
        ("mixed.contoso.com", "A", "NOERROR", (a("mixed.contoso.com", "10.0.0.23"),)),
        ("absolute.contoso.com", "A", "NOERROR", (a("absolute.contoso.com", "10.0.0.24"),)),
        ("host.fabrikam.com", "A", "NOERROR", (a("host.fabrikam.com", "10.0.1.1", 3600),)),
        (SRV_NAME, "SRV", "NOERROR", SRV),
        (
            "_sip._tls.contoso.com",
            "SRV",
            "NOERROR",
            (DnsRecord("_sip._tls.contoso.com", "SRV", 600, SrvData(0, 0, 443, "")),),
        ),
        # A name that exists, but not with that type.
        ("fe1.contoso.com", "SRV", "NOERROR", ()),
        ("fe1.contoso.com", "AAAA", "NOERROR", ()),
        (SRV_NAME, "A", "NOERROR", ()),
        # A name above a record exists too.
        ("_tcp.contoso.com", "A", "NOERROR", ()),
        ("_tls.contoso.com", "SRV", "NOERROR", ()),
        ("nowhere.contoso.com", "A", "NXDOMAIN", ()),
        ("_sipexternal._tls.contoso.com", "SRV", "NXDOMAIN", ()),
        # Aliases are followed as far as this server knows.
        (
            "alias.contoso.com",
            "A",
            "NOERROR",
            (
                cname("alias.contoso.com", "sip.contoso.com"),
                cname("sip.contoso.com", "fe1.contoso.com"),
                *FE1,
            ),
        ),
        (
            "sip.contoso.com",
            "CNAME",
            "NOERROR",
            (cname("sip.contoso.com", "fe1.contoso.com"),),
        ),
        (
            "sip.contoso.com",
            "SRV",
            "NOERROR",
            (cname("sip.contoso.com", "fe1.contoso.com"),),
        ),
        (
            "partner.contoso.com",
            "A",
            "NOERROR",
            (
                cname("partner.contoso.com", "host.fabrikam.com"),
                a("host.fabrikam.com", "10.0.1.1", 3600),
            ),
        ),
        (
            "dangling.contoso.com",
            "A",
            "NXDOMAIN",
            (cname("dangling.contoso.com", "nowhere.contoso.com"),),
        ),
        (
            "outside.contoso.com",
            "A",
            "NOERROR",
            (cname("outside.contoso.com", "www.example.org"),),
        ),
        (
            "loop1.contoso.com",
            "A",
            "NOERROR",
            (
                cname("loop1.contoso.com", "loop2.contoso.com"),
                cname("loop2.contoso.com", "loop1.contoso.com"),
            ),
        ),
    ],
)
def test_names_of_the_zones_are_answered(play, qname, qtype, rcode, answers):
    play(new_server(), [(0, query(qname, qtype), [answer(qname, qtype, rcode, answers)])])


@pytest.mark.parametrize("qname", ["time.windows.com", "com", "notcontoso.com", ""])
def test_names_outside_are_refused(play, said, qname):
    expected = answer(qname, "A", "REFUSED", is_ours=False)
    play(new_server(), [(0, query(qname), [expected, said("REFUSED")])])


def test_a_root_zone_answers_for_every_name(play):
    server = new_server(zones=(Zone(origin=".", ttl=60, a={"host.example": ["10.0.0.9"]}),))
    play(
        server,
        [
            (
                0,
                query("host.example"),
                [answer("host.example", "A", "NOERROR", (a("host.example", "10.0.0.9", 60),))],
            ),
            (0, query("example"), [answer("example", "A", "NOERROR")]),
            (0, query("other"), [answer("other", "A", "NXDOMAIN")]),
        ],
    )


def test_a_large_answer_is_cut_over_udp_and_whole_over_tcp(play):
    # 12 octets of header, 33 + 4 of question, and for each record 12 + 6 + 17.
    size = 12 + len(SRV_NAME) + 2 + 4 + 2 * (12 + 6 + len("fe1.contoso.com") + 2)
    whole = answer(SRV_NAME, "SRV", "NOERROR", SRV)
    cut = answer(SRV_NAME, "SRV", "NOERROR", SRV[:1], truncated=True)
    over_tcp = answer(SRV_NAME, "SRV", "NOERROR", SRV, over_tcp=True)
    play(new_server(udp_limit=size), [(0, query(SRV_NAME, "SRV"), [whole])])
    play(
        new_server(udp_limit=size - 1),
        [
            (0, query(SRV_NAME, "SRV"), [cut]),
            (0, query(SRV_NAME, "SRV", over_tcp=True), [over_tcp]),
        ],
    )


def test_malformed_queries_are_reported(play, said):
    event = MalformedArrived(protocol="dns", source="10.0.0.7", reason="3 octets")
    play(new_server(), [(0, event, [said("malformed")])])


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ({"a": {"x": ["10.0.0.1"]}, "cname": {"x": "y"}}, "a CNAME stands alone"),
        ({"a": {"www.example.org.": ["10.0.0.1"]}}, "is not a name of zone"),
    ],
)
def test_a_zone_that_makes_no_sense_is_refused(zone, text):
    with pytest.raises(ProfileError, match=text):
        new_server(zones=(Zone(origin="contoso.com", **zone),))


def test_a_server_waits_for_nothing():
    assert new_server().next_deadline() is None
