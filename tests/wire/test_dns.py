import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRRSRV

from phonesim.errors import DecodeError
from phonesim.wire.dns import (
    DnsQuery,
    DnsRecord,
    DnsResponse,
    SrvData,
    decode_query,
    decode_response,
    encode_query,
    encode_response,
)

SRV_NAME = "_sipinternaltls._tcp.contoso.com"
QUERY = DnsQuery(id=0x1234, qname=SRV_NAME, qtype="SRV")

# By hand from RFC 1035 section 4.1: header, then the question.
QUERY_OCTETS = (
    bytes.fromhex("1234 0100 0001 0000 0000 0000")
    + b"\x0f_sipinternaltls\x04_tcp\x07contoso\x03com\x00"
    + bytes.fromhex("0021 0001")
)

RESPONSE = DnsResponse(
    id=0x1234,
    qname=SRV_NAME,
    qtype="SRV",
    authoritative=True,
    answers=(
        DnsRecord(SRV_NAME, "SRV", 3600, SrvData(0, 10, 5061, "pool1.contoso.com")),
        DnsRecord(SRV_NAME, "SRV", 3600, SrvData(5, 0, 5061, "pool2.contoso.com")),
    ),
)


def a_response(count: int) -> DnsResponse:
    return DnsResponse(
        id=1,
        qname="pool.contoso.com",
        qtype="A",
        answers=tuple(
            DnsRecord("pool.contoso.com", "A", 60, f"10.0.{i // 256}.{i % 256}")
            for i in range(count)
        ),
    )


class TestQuery:
    def test_octets_of_the_rfc(self) -> None:
        assert encode_query(QUERY) == QUERY_OCTETS
        assert decode_query(QUERY_OCTETS) == QUERY

    def test_scapy_reads_the_same(self) -> None:
        seen = DNS(encode_query(QUERY))
        assert (seen.id, seen.qr, seen.opcode, seen.rd, seen.qdcount) == (0x1234, 0, 0, 1, 1)
        assert (seen.qd[0].qname, seen.qd[0].qtype, seen.qd[0].qclass) == (
            SRV_NAME.encode() + b".",
            33,
            1,
        )

    def test_what_scapy_builds(self) -> None:
        data = bytes(DNS(id=7, rd=0, qd=DNSQR(qname="Pool.Contoso.COM", qtype="A")))
        assert decode_query(data) == DnsQuery(
            id=7, qname="pool.contoso.com", qtype="A", recursion_desired=False
        )

    def test_the_root_is_the_empty_name(self) -> None:
        query = DnsQuery(id=0, qname="", qtype="A")
        assert encode_query(query)[12:13] == b"\0"
        assert decode_query(encode_query(query)) == query

    def test_edns_is_skipped(self) -> None:
        query = dns.message.make_query("pool.contoso.com", "A", use_edns=0, id=9)
        assert decode_query(query.to_wire()) == DnsQuery(id=9, qname="pool.contoso.com", qtype="A")

    def test_only_the_id_differs_between_the_same_questions(self) -> None:
        data = encode_query(DnsQuery(id=0xFFFF, qname=SRV_NAME, qtype="SRV"))
        assert data == b"\xff\xff" + QUERY_OCTETS[2:]
        assert decode_query(data).id == 0xFFFF

    @pytest.mark.parametrize(
        "query",
        [
            DnsQuery(id=0, qname="a" * 64, qtype="A"),
            DnsQuery(id=0, qname="a..b", qtype="A"),
            DnsQuery(id=0, qname="a." * 128, qtype="A"),
            DnsQuery(id=0, qname="\ud800", qtype="A"),
            DnsQuery(id=0, qname="a", qtype="NO-SUCH-TYPE"),
            DnsQuery(id=0x10000, qname="a", qtype="A"),
            DnsQuery(id=-1, qname="a", qtype="A"),
        ],
    )
    def test_what_dns_cannot_carry_is_refused(self, query: DnsQuery) -> None:
        with pytest.raises(ValueError, match="is not a DNS"):
            encode_query(query)

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"", "^0 octets: a DNS message has a header of 12"),
            (b"\0", "^1 octets"),
            (QUERY_OCTETS[:11], "11 octets"),
            (QUERY_OCTETS[:12], "DNS query of 12 octets"),
            (QUERY_OCTETS[:-1], f"DNS query of {len(QUERY_OCTETS) - 1} octets"),
            (QUERY_OCTETS + b"\0", "DNS query"),
            (encode_response(RESPONSE), "the QR bit is 1: this is no DNS query"),
            (b"\0\0\x20\0\0\x01" + QUERY_OCTETS[6:], r"opcode is 4, not QUERY \(0\)"),
            (b"\0\0\x78\0\0\x01" + QUERY_OCTETS[6:], "opcode is 15"),
            (b"\0\0\x01\0\0\x00" + bytes(6), "the DNS query has 0 questions, not 1"),
            (b"\0\0\x01\0\0\x02" + QUERY_OCTETS[6:], "2 questions"),
            (QUERY_OCTETS[:-2] + b"\0\x03", r"class is 3, not IN \(1\)"),
            (QUERY_OCTETS[:12] + b"\xc0\x0c\0\1\0\1", "DNS query of 18 octets"),
        ],
    )
    def test_malformed(self, data: bytes, text: str) -> None:
        with pytest.raises(DecodeError, match=text):
            decode_query(data)


class TestResponse:
    def test_scapy_reads_the_same(self) -> None:
        seen = DNS(encode_response(RESPONSE))
        assert (seen.id, seen.qr, seen.aa, seen.tc, seen.rcode) == (0x1234, 1, 1, 0, 0)
        assert seen.qd[0].qname == SRV_NAME.encode() + b"."
        assert [
            (record.rrname, record.ttl, record.priority, record.weight, record.port, record.target)
            for record in seen.an
        ] == [
            (SRV_NAME.encode() + b".", 3600, 0, 10, 5061, b"pool1.contoso.com."),
            (SRV_NAME.encode() + b".", 3600, 5, 0, 5061, b"pool2.contoso.com."),
        ]

    def test_what_scapy_builds(self) -> None:
        data = bytes(
            DNS(
                id=3,
                qr=1,
                ra=1,
                qd=DNSQR(qname="sip.contoso.com", qtype="A"),
                an=[
                    DNSRR(rrname="sip.contoso.com", type="CNAME", ttl=5, rdata="Pool.contoso.com"),
                    DNSRR(rrname="pool.contoso.com", type="TXT", ttl=6, rdata=[b"left out"]),
                    DNSRR(rrname="pool.contoso.com", type="A", ttl=7, rdata="10.20.0.11"),
                    DNSRR(rrname="pool.contoso.com", type="A", ttl=8, rdata="10.20.0.10"),
                ],
            )
        )
        assert decode_response(data) == DnsResponse(
            id=3,
            qname="sip.contoso.com",
            qtype="A",
            answers=(
                DnsRecord("sip.contoso.com", "CNAME", 5, "pool.contoso.com"),
                DnsRecord("pool.contoso.com", "A", 7, "10.20.0.11"),
                DnsRecord("pool.contoso.com", "A", 8, "10.20.0.10"),
            ),
        )

    def test_srv_with_target_dot(self) -> None:
        data = bytes(
            DNS(
                qr=1,
                qd=DNSQR(qname=SRV_NAME, qtype="SRV"),
                an=[DNSRRSRV(rrname=SRV_NAME, ttl=1, target=".")],
            )
        )
        (record,) = decode_response(data).answers
        assert record == DnsRecord(SRV_NAME, "SRV", 1, SrvData(0, 0, 0, ""))
        again = DnsResponse(id=0, qname=SRV_NAME, qtype="SRV", answers=(record,))
        assert decode_response(encode_response(again)) == again

    @pytest.mark.parametrize("rcode", ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "REFUSED"])
    def test_rcodes(self, rcode: str) -> None:
        response = DnsResponse(id=1, qname="a.b", qtype="A", rcode=rcode)
        data = encode_response(response)
        assert dns.rcode.to_text(dns.message.from_wire(data).rcode()) == rcode
        assert decode_response(data) == response

    def test_flags(self) -> None:
        response = DnsResponse(id=1, qname="a.b", qtype="A", truncated=True, authoritative=True)
        flags = dns.message.from_wire(encode_response(response)).flags
        assert flags == dns.flags.QR | dns.flags.AA | dns.flags.TC | dns.flags.RD
        assert decode_response(encode_response(response)) == response

    def test_escaped_characters_survive(self) -> None:
        response = DnsResponse(
            id=1,
            qname=r"a\.b\032c.com",
            qtype="CNAME",
            answers=(DnsRecord(r"a\.b\032c.com", "CNAME", 1, r"\@\;\"x.com"),),
        )
        assert decode_response(encode_response(response)) == response

    def test_other_classes_are_left_out(self) -> None:
        message = dns.message.make_response(dns.message.make_query("a.b", "TXT"))
        message.answer.append(dns.rrset.from_text("a.b.", 1, "CH", "TXT", "x"))
        assert decode_response(message.to_wire()).answers == ()

    @pytest.mark.parametrize(
        "response",
        [
            DnsResponse(id=1, qname="a", qtype="A", rcode="NO-SUCH-RCODE"),
            DnsResponse(id=1, qname="a", qtype="A", rcode="BADVERS"),
            *(
                DnsResponse(id=1, qname="a", qtype="A", answers=(record,))
                for record in [
                    DnsRecord("a", "A", 1, "10.0.0"),
                    DnsRecord("a", "A", 1, "10.0.0.1 10.0.0.2"),
                    DnsRecord("a", "A", 1, SrvData(0, 0, 0, "")),
                    DnsRecord("a", "A", -1, "10.0.0.1"),
                    DnsRecord("a", "A", 1 << 31, "10.0.0.1"),
                    DnsRecord("a", "TXT", 1, "x"),
                    DnsRecord("a", "SRV", 1, "x"),
                    DnsRecord("a", "SRV", 1, SrvData(0, 0, 65536, "b")),
                    DnsRecord("a", "CNAME", 1, "b..c"),
                ]
            ),
        ],
    )
    def test_what_dns_cannot_carry_is_refused(self, response: DnsResponse) -> None:
        with pytest.raises(
            ValueError, match=r"rcode|EDNS|TTL|data of type|record of type|DNS name"
        ):
            encode_response(response)

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (encode_query(QUERY), "the QR bit is 0: this is no DNS response"),
            (encode_response(RESPONSE)[:-1], "DNS response of"),
            (encode_response(RESPONSE) + b"\0", "DNS response of"),
            (encode_response(a_response(1))[:-5] + b"\x05\x0a\0\0\0\x01", "DNS response of"),
            (
                encode_response(a_response(1))[:-14] + b"\0\x29\0\x01" + bytes(6),
                "OPT record occurred somewhere other than the additional data section",
            ),
        ],
    )
    def test_malformed(self, data: bytes, text: str) -> None:
        with pytest.raises(DecodeError, match=text):
            decode_response(data)


class TestLimit:
    def test_what_fits_is_whole(self) -> None:
        data = encode_response(a_response(29), 512)
        assert len(data) == 12 + 22 + 29 * 16
        assert decode_response(data) == a_response(29)

    def test_records_that_do_not_fit_are_left_out_and_tc_is_set(self) -> None:
        data = encode_response(a_response(40), 512)
        assert len(data) <= 512
        seen = decode_response(data)
        assert seen.truncated
        assert seen.answers == a_response(40).answers[:29]
        assert len(data) + 16 > 512

    @pytest.mark.parametrize("limit", [0, 12, 34, 49])
    def test_the_question_is_always_there(self, limit: int) -> None:
        data = encode_response(a_response(1), limit)
        assert len(data) == 34
        assert decode_response(data) == DnsResponse(
            id=1, qname="pool.contoso.com", qtype="A", truncated=True
        )

    def test_tcp_carries_65535_octets(self) -> None:
        data = encode_response(a_response(4200))
        assert 65535 - 16 < len(data) <= 65535
        assert decode_response(data).truncated
        assert decode_response(encode_response(a_response(4000))) == a_response(4000)
