import dns.name
import pytest

from phonesim.wire.provisioning import (
    SipServers,
    UcOptions,
    decode_sip_servers,
    decode_uc_options,
    encode_sip_servers,
    encode_uc_options,
)

PATH = "/CertProv/CertProvisioningService.svc"

# The vectors of the device reference, section 6.3.
UC_OPTIONS = {
    "server.fqdn.company.com": (
        "010C4D532D55432D436C69656E740205687474707303177365727665722E6671646E2E636F6D70616E792E"
        "636F6D040334343305252F4365727450726F762F4365727450726F766973696F6E696E6753657276696365"
        "2E737663"
    ),
    "sip.contoso.com": (
        "010c4d532d55432d436c69656e7402056874747073030f7369702e636f6e746f736f2e636f6d0403343433"
        "05252f4365727450726f762f4365727450726f766973696f6e696e67536572766963652e737663"
    ),
}
SIP_SERVERS = {
    ("server.fqdn.company.com",): "0006736572766572046671646E07636F6D70616E7903636F6D00",
    ("sip.contoso.com",): "000373697007636f6e746f736f03636f6d00",
    ("example.com",): "00076578616D706C6503636F6D00",
    ("pool.contoso.com",): "0004706f6f6c07636f6e746f736f03636f6d00",
    ("pool1.contoso.com", "pool2.contoso.com"): (
        "0005706f6f6c3107636f6e746f736f03636f6d0005706f6f6c3207636f6e746f736f03636f6d00"
    ),
}


def uc_options(fqdn: str) -> UcOptions:
    return UcOptions(
        uc_identifier="MS-UC-Client",
        url_scheme="https",
        web_server_fqdn=fqdn,
        web_server_port=443,
        cert_prov_rel_path=PATH,
    )


def sub_option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


WHOLE = bytes.fromhex(UC_OPTIONS["server.fqdn.company.com"])


class TestUcOptions:
    @pytest.mark.parametrize(("fqdn", "octets"), UC_OPTIONS.items())
    def test_published_vectors(self, fqdn: str, octets: str) -> None:
        assert encode_uc_options(uc_options(fqdn)).hex() == octets.lower()
        assert decode_uc_options(bytes.fromhex(octets)) == uc_options(fqdn)

    @pytest.mark.parametrize("size", [15, 23, 26])
    def test_overhead_is_67_octets(self, size: int) -> None:
        assert len(encode_uc_options(uc_options("a" * (size - 4) + ".com"))) == 67 + size

    def test_only_what_is_there_is_written(self) -> None:
        assert encode_uc_options(UcOptions()) == b""
        assert encode_uc_options(UcOptions(vlan_id=110)) == b"\x0a\x03110"
        assert decode_uc_options(b"\x0a\x03110") == UcOptions(vlan_id=110)

    def test_order_of_the_octets_does_not_matter(self) -> None:
        data = sub_option(4, b"443") + sub_option(1, b"MS-UC-Client") + sub_option(10, b"110")
        assert decode_uc_options(data) == UcOptions(
            uc_identifier="MS-UC-Client", web_server_port=443, vlan_id=110
        )

    @pytest.mark.parametrize(
        "options", [UcOptions(cert_prov_rel_path="/ä"), UcOptions(web_server_fqdn="a" * 256)]
    )
    def test_what_a_sub_option_cannot_carry_is_refused(self, options: UcOptions) -> None:
        with pytest.raises(ValueError, match=r"."):
            encode_uc_options(options)

    def test_the_same_octets_are_read_once(self) -> None:
        assert decode_uc_options(bytes(WHOLE)) is decode_uc_options(bytes(bytearray(WHOLE)))


class TestMalformedUcOptions:
    """One fault each: what is kept, and a part of the one warning."""

    @pytest.mark.parametrize(
        ("data", "kept", "warning"),
        [
            (b"", {}, "option 43 is empty"),
            (
                b"https://pool.contoso.com",
                {},
                'option 43 is the text "https://pool.contoso.com", not a list of sub-options',
            ),
            (
                sub_option(10, b"110") + b"\x05",
                {"vlan_id": 110},
                "sub-option 5 (cert_prov_rel_path) at offset 5 is cut short: its length is missing",
            ),
            (
                sub_option(10, b"110") + b"\x03\x17pool.con",
                {"vlan_id": 110},
                "sub-option 3 (web_server_fqdn) at offset 5 is cut short: its length is 23, but "
                'only 8 octets follow ("pool.con")',
            ),
            (
                sub_option(10, b"110") + b"\xff",
                {"vlan_id": 110},
                "the option ends in FF at offset 5, as dnsmasq appends it",
            ),
            (
                sub_option(10, b"110") + b"\xff\x00\x00",
                {"vlan_id": 110},
                "the option ends in FF at offset 5",
            ),
            (
                sub_option(10, b"110") + b"\xff" + sub_option(4, b"443"),
                {"vlan_id": 110},
                "the octet FF at offset 5 ends the option: the 5 octets behind it are not read",
            ),
            (
                sub_option(10, b"110") + b"\xff\1",
                {"vlan_id": 110},
                "the octet FF at offset 5 ends the option: the octet behind it is not read",
            ),
            (
                sub_option(10, b"110") + b"\4\x034",
                {"vlan_id": 110},
                'its length is 3, but only 1 octet follows ("4")',
            ),
            (
                b"\0\0" + sub_option(10, b"110"),
                {"vlan_id": 110},
                "octets 00 from offset 0 to 1 are no sub-option",
            ),
            (
                sub_option(4, b"443") + sub_option(4, b"4443"),
                {"web_server_port": 443},
                "sub-option 4 (web_server_port) at offset 5 comes a second time",
            ),
            (
                sub_option(58, b"x") + sub_option(4, b"443"),
                {"web_server_port": 443},
                "sub-option 58 at offset 0 is not one that the phone knows",
            ),
            (
                sub_option(1, b"ms-uc-client"),
                {"uc_identifier": "ms-uc-client"},
                '"ms-uc-client", expected "MS-UC-Client", case and all',
            ),
            (sub_option(2, b"ftp"), {}, '(url_scheme) at offset 0 is "ftp": "https" is expected'),
            (sub_option(2, b"HTTPS"), {"url_scheme": "https"}, 'is "HTTPS": read as "https"'),
            (sub_option(2, b""), {}, "sub-option 2 (url_scheme) at offset 0 is empty"),
            (sub_option(2, b"\0\0"), {}, "sub-option 2 (url_scheme) at offset 0 is empty"),
            (
                sub_option(3, b"pool.contoso.com\0"),
                {"web_server_fqdn": "pool.contoso.com"},
                "ends in a NUL octet, left out: a definition of type String adds it",
            ),
            (
                sub_option(3, "pöol.contoso.com".encode()),
                {},
                'is "p\\xC3\\xB6ol.contoso.com": octet 1 of its value is C3, printable ASCII',
            ),
            (sub_option(3, b"pool contoso"), {}, "octet 4 of its value is 20"),
            (sub_option(3, b"pool_1.contoso.com"), {}, 'not a host name: "pool_1" has other'),
            (sub_option(3, b"pool..com"), {}, "not a host name: it has an empty label"),
            (sub_option(3, b"a" * 64 + b".com"), {}, "has more than 63 characters"),
            (sub_option(3, b"a." * 127 + b"a"), {}, "255 characters, at most 253 are allowed"),
            (
                sub_option(3, b"pool"),
                {"web_server_fqdn": "pool"},
                'is "pool": a fully qualified name is expected',
            ),
            (
                sub_option(3, b"10.20.0.5"),
                {"web_server_fqdn": "10.20.0.5"},
                'is "10.20.0.5": a name is expected, as in the certificate',
            ),
            (
                sub_option(4, b"\x01\xbb"),
                {},
                "(web_server_port) at offset 0 is 01 BB (as a binary number it is 443): "
                "ASCII digits are expected, such as 34 34 33 for 443",
            ),
            (sub_option(4, b"\0\0\x01\xbb"), {}, "00 00 01 BB (as a binary number it is 443)"),
            (sub_option(4, b"\x01\x00"), {}, "01 00 (as a binary number it is 256)"),
            (sub_option(4, b"44x"), {}, "is 34 34 78: ASCII digits are expected"),
            (sub_option(4, b""), {}, "is empty: ASCII digits are expected"),
            (sub_option(4, b"0"), {}, 'is "0", not a port from 1 to 65535'),
            (sub_option(4, b"65536"), {}, 'is "65536", not a port from 1 to 65535'),
            (sub_option(4, b"9" * 255), {}, "not a port from 1 to 65535"),
            (sub_option(4, b"443\0"), {"web_server_port": 443}, "ends in a NUL octet"),
            (sub_option(5, b"CertProv"), {}, 'is "CertProv": a path that begins with "/"'),
            (sub_option(10, b"0"), {}, "as a binary number it would be 48"),
            (sub_option(10, b"4095"), {}, "is 34 30 39 35, not a VLAN id from 1 to 4094"),
            (sub_option(10, b"\0"), {}, "is 00, not a VLAN id"),
            (sub_option(10, b"\x0f\xff"), {}, "is 0F FF, not a VLAN id"),
            (sub_option(10, b"12345"), {}, "not a VLAN id"),
            (sub_option(10, b""), {}, "is empty: ASCII digits, or a binary number of 1, 2 or 4"),
            (sub_option(10, b"\x00\x00\x6e"), {}, "is 00 00 6E: ASCII digits, or a binary number"),
            (sub_option(10, b"110\0"), {"vlan_id": 110}, "ends in a NUL octet"),
            (
                sub_option(10, b"5"),
                {"vlan_id": 5},
                'is 35, read as the digit "5"; as a binary number it would be 53',
            ),
        ],
    )
    def test_says_what_is_wrong(self, data: bytes, kept: dict[str, object], warning: str) -> None:
        options = decode_uc_options(data)
        assert options == UcOptions(**kept, warnings=options.warnings)
        assert warning in "\n".join(options.warnings)

    @pytest.mark.parametrize(
        ("value", "vlan_id"),
        [(b"\x6e", 110), (b"\x00\x6e", 110), (b"\0\0\0\x6e", 110), (b"4094", 4094), (b"12", 12)],
    )
    def test_vlan_id_in_every_width(self, value: bytes, vlan_id: int) -> None:
        assert decode_uc_options(sub_option(10, value)) == UcOptions(vlan_id=vlan_id)

    def test_names_come_in_lower_case_without_final_dot(self) -> None:
        options = decode_uc_options(sub_option(3, b"Pool.Contoso.com."))
        assert options == UcOptions(web_server_fqdn="pool.contoso.com")

    def test_the_cut_at_180_hex_characters_is_named(self) -> None:
        data = encode_uc_options(uc_options("sipserver.fqdn.company.com"))
        assert len(data) == 93
        (warning,) = decode_uc_options(data[:90]).warnings
        assert "(cert_prov_rel_path)" in warning
        assert "the 180 hex characters at which Cisco IOS cuts `option 43 hex`" in warning
        (warning,) = decode_uc_options(data[:89]).warnings
        assert "Cisco" not in warning

    @pytest.mark.parametrize("size", range(len(WHOLE)))
    def test_a_cut_anywhere_leaves_the_sub_options_before_it(self, size: int) -> None:
        options = decode_uc_options(WHOLE[:size])
        kept = UcOptions(
            **{
                name: getattr(uc_options("server.fqdn.company.com"), name)
                for name, end in [
                    ("uc_identifier", 14),
                    ("url_scheme", 21),
                    ("web_server_fqdn", 46),
                    ("web_server_port", 51),
                ]
                if size >= end
            },
            warnings=options.warnings,
        )
        assert options == kept
        assert len(options.warnings) == (size not in (14, 21, 46, 51))


class TestSipServers:
    @pytest.mark.parametrize(("names", "octets"), SIP_SERVERS.items())
    def test_published_vectors(self, names: tuple[str, ...], octets: str) -> None:
        assert encode_sip_servers(names).hex() == octets.lower()
        assert decode_sip_servers(bytes.fromhex(octets)) == SipServers(names=names)

    def test_names_are_those_of_dnspython(self) -> None:
        names = ("pool1.contoso.com", "a-1." + "b" * 63 + ".example")
        octets = b"".join(dns.name.from_text(name).to_wire() for name in names)
        assert encode_sip_servers(names) == b"\0" + octets
        assert decode_sip_servers(b"\0" + octets) == SipServers(names=names)

    def test_a_final_dot_is_left_out(self) -> None:
        assert encode_sip_servers(["example.com."]) == encode_sip_servers(["example.com"])

    @pytest.mark.parametrize(
        "names",
        [(), ("",), ("a..b",), ("-a.com",), ("a" * 64,), ("a_b.com",), ("pöol.com",), ("a.\n",)],
    )
    def test_what_is_no_host_name_is_refused(self, names: tuple[str, ...]) -> None:
        with pytest.raises(ValueError, match=r"option 120|host name"):
            encode_sip_servers(names)

    @pytest.mark.parametrize("base", [0, 1], ids=["from the names", "from the option"])
    def test_compression_pointers(self, base: int) -> None:
        # Pointers into a whole name, into a name that itself ends in one, and to all of a name.
        names = [b"\x05pool1\x07contoso\x03com\x00", b"\x05pool2\xc0", b"\x01x\xc0", b"\xc0"]
        offsets = [6 + base, len(names[0]) + base, base]
        data = b"\0" + names[0]
        for name, offset in zip(names[1:], offsets, strict=True):
            data += name + bytes((offset,))
        assert decode_sip_servers(data) == SipServers(
            names=(
                "pool1.contoso.com",
                "pool2.contoso.com",
                "x.pool2.contoso.com",
                "pool1.contoso.com",
            )
        )


class TestMalformedSipServers:
    """One fault each: what is kept, and a part of the one warning."""

    @pytest.mark.parametrize(
        ("data", "names", "warning"),
        [
            (b"", (), "option 120 is empty"),
            (b"\0", (), "no name follows the encoding octet"),
            (b"\0\0", (), "octets 00 from offset 1 to 1 hold no name"),
            (b"\0\x01a\x03com\0\0\0", ("a.com",), "octets 00 from offset 8 to 9 hold no name"),
            (b"\0\0\x01a\x03com\0", ("a.com",), "the name at offset 1 is empty"),
            (b"\0\x01a\x03com", ("a.com",), "the name at offset 1 lacks its final octet 00"),
            (
                b"\0\x01a\x03com\0\x05poo",
                ("a.com",),
                'the label at offset 8 is cut short: its length is 5, but only 3 octets follow ("p',
            ),
            (
                b"\0\x01a\x03com\0\x40",
                ("a.com",),
                "the octet at offset 8 is 40, neither the length of a label (00 to 3F) nor",
            ),
            (
                b"\0pool.contoso.com",
                (),
                'is 70, neither the length of a label (00 to 3F) nor a pointer (the text "pool.con',
            ),
            (
                b"\0" + b"\x3f" + b"a" * 63 + (b"\x3f" + b"b" * 63) * 3 + b"\0\x01a\x03com\0",
                ("a.com",),
                "the name at offset 1 is longer than 255 octets",
            ),
            (
                b"\0\x03a_b\x03com\0\x01a\x03com\0",
                ("a.com",),
                'the name at offset 1 is "a_b.com", not a host name: "a_b" has other characters',
            ),
            (
                b"\0\x03a\nb\x03com\0\x01a\x03com\0",
                ("a.com",),
                'the name at offset 1 is "a\\x0ab.com", not a host name',
            ),
            (
                b"\0\x10pool.contoso.com\0",
                ("pool.contoso.com",),
                'is "pool.contoso.com" in one label',
            ),
            (
                b"\0\x01a\x03com\0\x01b\xc0",
                ("a.com",),
                "the compression pointer at offset 10 is cut short",
            ),
            (
                b"\0\x01a\xc0\x00\x01a\x03com\0",
                ("a.com",),
                "pointer at offset 3 (C0 00) refers to no label of an earlier name: refused",
            ),
            (b"\0\xc0\x01\x01a\x03com\0", ("a.com",), "pointer at offset 1 (C0 01) refers to no"),
            (b"\0\x01b\xc0\x04\x01a\x03com\0", ("a.com",), "pointer at offset 3 (C0 04)"),
            (b"\0\x01a\x03com\0\x01b\xc0\x04", ("a.com",), "pointer at offset 10 (C0 04)"),
            (b"\0\x04pool\0", ("pool",), '"pool": a fully qualified name is expected'),
            (b"\0\x0210\x011\x011\x011\0", ("10.1.1.1",), "a name is expected, as in the cert"),
            (
                b"Pool.contoso.com",
                ("pool.contoso.com",),
                'the option is the text "Pool.contoso.com", where 00 and length-',
            ),
            (
                b"pool.contoso.com.\0",
                ("pool.contoso.com",),
                'the option is the text "pool.contoso.com.", where 00',
            ),
            (
                b"a.contoso.com,b.contoso.com",
                (),
                'is the text "a.contoso.com,b.contoso.com" without encoding octet and labels, and '
                'not a host name: "com,b" has',
            ),
            (
                b"\x04pool\x03com\0",
                (),
                "the encoding octet at offset 0 is 04, neither 00 (names) nor 01 (addresses); "
                "the name's labels follow at once",
            ),
            (b"\x02\xff\xff", (), "is 02, neither 00 (names) nor 01 (addresses)"),
            (b"\xff\0", (), "the encoding octet at offset 0 is FF"),
        ],
    )
    def test_says_what_is_wrong(self, data: bytes, names: tuple[str, ...], warning: str) -> None:
        servers = decode_sip_servers(data)
        assert servers == SipServers(names=names, warnings=servers.warnings)
        assert len(servers.warnings) == 1
        assert warning in servers.warnings[0]

    def test_addresses_are_kept_and_warned_of(self) -> None:
        servers = decode_sip_servers(b"\x01\x0a\0\0\x01\x0a\0\0\x02")
        assert (servers.names, servers.addresses) == ((), ("10.0.0.1", "10.0.0.2"))
        (warning,) = servers.warnings
        assert "the phone needs names (00)" in warning

    @pytest.mark.parametrize(
        ("tail", "addresses"),
        [(b"", ()), (b"\x0a", ()), (b"\x0a\0", ()), (b"\x0a\0\0\x01\x0a", ("10.0.0.1",))],
    )
    def test_incomplete_addresses(self, tail: bytes, addresses: tuple[str, ...]) -> None:
        servers = decode_sip_servers(b"\x01" + tail)
        assert servers.addresses == addresses
        follow = "1 octet follows" if len(tail) == 1 else f"{len(tail)} octets follow"
        assert f"{follow} the encoding octet" in servers.warnings[1]
