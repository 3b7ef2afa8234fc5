from __future__ import annotations

from typing import Any

import pytest

from phonesim.errors import UsageError
from phonesim.field.dhcputil.sign_in_values import (
    SignInValues,
    read_sign_in_values,
    split_sub_options,
)

PATH = "/CertProv/CertProvisioningService.svc"


# The vectors of the device reference, section 6.3.
@pytest.mark.parametrize(
    ("names", "option_120"),
    [
        (["server.fqdn.company.com"], "0006736572766572046671646E07636F6D70616E7903636F6D00"),
        (["sip.contoso.com"], "000373697007636F6E746F736F03636F6D00"),
        (["example.com"], "00076578616D706C6503636F6D00"),
        (["pool.contoso.com"], "0004706F6F6C07636F6E746F736F03636F6D00"),
        (
            ["pool1.contoso.com", "pool2.contoso.com"],
            "0005706F6F6C3107636F6E746F736F03636F6D0005706F6F6C3207636F6E746F736F03636F6D00",
        ),
    ],
)
def test_published_values_of_option_120(names: list[str], option_120: str) -> None:
    assert read_sign_in_values(names).option_120.hex().upper() == option_120


@pytest.mark.parametrize(
    ("name", "option_43"),
    [
        (
            "server.fqdn.company.com",
            "010C4D532D55432D436C69656E740205687474707303177365727665722E6671646E2E636F6D70616E79"
            "2E636F6D040334343305252F4365727450726F762F4365727450726F766973696F6E696E675365727669"
            "63652E737663",
        ),
        (
            "sip.contoso.com",
            "010C4D532D55432D436C69656E7402056874747073030F7369702E636F6E746F736F2E636F6D04033434"
            "3305252F4365727450726F762F4365727450726F766973696F6E696E67536572766963652E737663",
        ),
    ],
)
def test_published_values_of_option_43(name: str, option_43: str) -> None:
    values = read_sign_in_values([name])
    assert values.option_43.hex().upper() == option_43
    assert [each.code for each in values.sub_options] == [1, 2, 3, 4, 5]
    assert values.url == f"https://{name}:443{PATH}"


def test_the_length_of_a_long_name_is_that_of_the_published_output() -> None:
    assert 2 * len(read_sign_in_values(["sipserver.fqdn.company.com"]).option_43) == 186


@pytest.mark.parametrize(
    ("more", "url"),
    [
        ({"web_server": "web.contoso.com"}, f"https://web.contoso.com:443{PATH}"),
        ({"web_server": "web.contoso.com.", "port": 444}, f"https://web.contoso.com:444{PATH}"),
        (
            {"cert_prov_url": "https://Web.contoso.com:4443/x.svc"},
            "https://Web.contoso.com:4443/x.svc",
        ),
        ({"cert_prov_url": "http://web.contoso.com"}, f"http://web.contoso.com:80{PATH}"),
    ],
)
def test_where_the_url_comes_from(more: dict[str, Any], url: str) -> None:
    assert read_sign_in_values(["sip.contoso.com"], **more).url == url


@pytest.mark.parametrize(
    ("form", "octets"),
    [
        ("ascii", "0A03313030"),
        ("binary-1", "0A0164"),
        ("binary-2", "0A020064"),
        ("binary-4", "0A0400000064"),
    ],
)
def test_forms_of_the_vlan(form: str, octets: str) -> None:
    values = read_sign_in_values(["sip.contoso.com"], vlan_id=100, vlan_form=form)
    assert values.vlan_option_43 == bytes.fromhex(octets)
    assert values.vlan_sub_option is not None
    assert values.vlan_sub_option.value == bytes.fromhex(octets)[2:]


def test_without_a_vlan_there_is_no_option_for_it() -> None:
    values = read_sign_in_values(["sip.contoso.com"])
    assert values.vlan_option_43 is None
    assert values.vlan_sub_option is None


@pytest.mark.parametrize(
    ("sip_servers", "more", "complaint"),
    [
        ([], {}, "--sip-server: name the Registrar"),
        (["a.b", "c.d", "e.f"], {}, "--sip-server: phones take 2 names, not 3"),
        (["10.0.0.1"], {}, "--sip-server: 10.0.0.1 is not a fully qualified name"),
        (["pool"], {}, "pool is not a fully qualified name"),
        (["-bad.contoso.com"], {}, "not a host name"),
        (["bäd.contoso.com"], {}, "has other characters than letters"),
        (["a.b"], {"web_server": "bäd.b"}, "--web-server: 'bäd.b' is not a host name"),
        (["a.b"], {"cert_prov_url": "https://a.b/ä"}, "has other characters than ASCII"),
        (["a.b"], {"web_server": "10.0.0.1"}, "--web-server: sub-option 3"),
        (["a.b"], {"web_server": "web"}, "a fully qualified name is expected"),
        (["a.b"], {"web_server": "w" * 64 + ".b"}, "not a host name"),
        (["a.b"], {"cert_prov_url": "ftp://a.b/"}, "--cert-prov-url: 'ftp://a.b/' is not a URL"),
        (["a.b"], {"cert_prov_url": "https://a.b:x/"}, "--cert-prov-url"),
        (["a.b"], {"cert_prov_url": "https://a.b/?x"}, "more than scheme, name, port and path"),
        (["a.b"], {"cert_prov_url": "https://a.b/", "port": 1}, "are in it already"),
        (["a.b"], {"cert_prov_url": "https://a.b:0/"}, "not a port from 1"),
        (["a.b"], {"cert_prov_url": "https://a.b/" + "x" * 250}, "255 is the most"),
        (["a.b"], {"cert_prov_url": "https://a.b/" + "x" * 260}, "a sub-option at most 255"),
        (["a.b"], {"vlan_id": 4095}, "--vlan: 4095 is not a VLAN id"),
        (["a.b"], {"vlan_id": 300, "vlan_form": "binary-1"}, "does not fit in the one octet"),
        (["a.b"], {"vlan_id": 53, "vlan_form": "binary-1"}, "takes VLAN 5 from it"),
        (["a.b"], {"vlan_id": 3, "vlan_form": "words"}, "--vlan-form: 'words' is none of"),
    ],
)
def test_what_no_phone_would_take_is_refused(
    sip_servers: list[str], more: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read_sign_in_values(sip_servers, **more)
    assert complaint in str(caught.value)


def test_sub_options_have_the_names_of_dhcputil_and_its_script(values: SignInValues) -> None:
    assert [(each.title, each.name) for each in split_sub_options(values.option_43)] == [
        ("UC Identifier", "UCIdentifier"),
        ("URL Scheme", "URLScheme"),
        ("Web Server FQDN", "WebServerFqdn"),
        ("Port", "WebServerPort"),
        ("Relative Path for Cert Prov", "CertProvRelPath"),
    ]
