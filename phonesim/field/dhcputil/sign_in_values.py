"""What an administrator wants phones to be told by DHCP, checked, and its octets.

Specifications: device reference sections 6.2 (layout), 6.4 (who provides what) and 4 (the
VLAN id, whose encoding is unknown: ASCII digits or a binary number).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from phonesim.errors import UsageError
from phonesim.wire.provisioning import (
    UC_IDENTIFIER,
    VLAN_FORMS,
    UcOptions,
    VlanForm,
    decode_uc_options,
    encode_sip_servers,
    encode_uc_options,
)

VLAN_CLASS = "CPE-OCPHONE"
"""The vendor class that is told the VLAN [documented gg398088, gg412828]."""
CERT_PROV_REL_PATH = "/CertProv/CertProvisioningService.svc"
MOST_SIP_SERVERS = 2
"""Registrars that a phone takes from option 120 [documented]."""
LONGEST_OPTION = 255

_LOWEST_VLAN_ID, _HIGHEST_VLAN_ID = 1, 4094


class SubOption(msgspec.Struct, frozen=True):
    """One sub-option of option 43: its code, DHCPUtil's and DHCPConfigScript's names, its value."""

    code: int
    title: str
    name: str
    value: bytes


_SUB_OPTIONS = {
    1: ("UC Identifier", "UCIdentifier"),
    2: ("URL Scheme", "URLScheme"),
    3: ("Web Server FQDN", "WebServerFqdn"),
    4: ("Port", "WebServerPort"),
    5: ("Relative Path for Cert Prov", "CertProvRelPath"),
    10: ("VLAN ID", "VlanId"),
}
SUB_OPTION_TITLES = {code: title for code, (title, _) in _SUB_OPTIONS.items()}
"""What DHCPUtil calls sub-options 1 to 5; it knows no sub-option 10."""


class SignInValues(msgspec.Struct, frozen=True, kw_only=True):
    """Registrars for option 120, the parts of the URL for option 43, and the VLAN for another."""

    sip_servers: tuple[str, ...]
    url_scheme: str
    web_server: str
    port: int
    path: str
    vlan_id: int | None = None
    vlan_form: VlanForm = "ascii"

    @property
    def url(self) -> str:
        """The certificate provisioning URL."""
        return f"{self.url_scheme}://{self.web_server}:{self.port}{self.path}"

    @property
    def option_120(self) -> bytes:
        """The Registrars."""
        return encode_sip_servers(self.sip_servers)

    @property
    def option_43(self) -> bytes:
        """The URL, for class MS-UC-Client."""
        return encode_uc_options(
            UcOptions(
                uc_identifier=UC_IDENTIFIER,
                url_scheme=self.url_scheme,
                web_server_fqdn=self.web_server,
                web_server_port=self.port,
                cert_prov_rel_path=self.path,
            )
        )

    @property
    def vlan_option_43(self) -> bytes | None:
        """The VLAN, for class CPE-OCPHONE."""
        if self.vlan_id is None:
            return None
        if self.vlan_form == "ascii":
            return encode_uc_options(UcOptions(vlan_id=self.vlan_id))
        size = int(self.vlan_form.removeprefix("binary-"))
        return bytes((10, size)) + self.vlan_id.to_bytes(size, "big")

    @property
    def sub_options(self) -> list[SubOption]:
        """Sub-options 1 to 5, in order."""
        return split_sub_options(self.option_43)

    @property
    def vlan_sub_option(self) -> SubOption | None:
        """Sub-option 10."""
        octets = self.vlan_option_43
        return None if octets is None else split_sub_options(octets)[0]


def split_sub_options(option_43: bytes) -> list[SubOption]:
    """The sub-options of an option that is right."""
    found, at = [], 0
    while at < len(option_43):
        code, size = option_43[at], option_43[at + 1]
        title, name = _SUB_OPTIONS[code]
        found.append(SubOption(code, title, name, option_43[at + 2 : at + 2 + size]))
        at += 2 + size
    return found


def read_sign_in_values(
    sip_servers: Sequence[str],
    *,
    web_server: str | None = None,
    cert_prov_url: str | None = None,
    port: int | None = None,
    vlan_id: int | None = None,
    vlan_form: str = "ascii",
) -> SignInValues:
    """Check what was asked for; `UsageError` says which option is wrong, and why.

    Without a web server it is the first SIP server, as DHCPUtil has it [source].
    """
    if not sip_servers:
        raise UsageError("--sip-server: name the Registrar, or pool, that phones sign in at")
    if len(sip_servers) > MOST_SIP_SERVERS:
        raise UsageError(
            f"--sip-server: phones take {MOST_SIP_SERVERS} names, not {len(sip_servers)}"
        )
    if vlan_form not in VLAN_FORMS:
        raise UsageError(f"--vlan-form: {vlan_form!r} is none of {', '.join(VLAN_FORMS)}")
    if vlan_id is not None:
        _check_vlan(vlan_id, vlan_form)
    scheme, host, url_port, path = "https", web_server or sip_servers[0], 443, CERT_PROV_REL_PATH
    if cert_prov_url is not None:
        if web_server is not None or port is not None:
            raise UsageError("--cert-prov-url: the web server and its port are in it already")
        scheme, host, url_port, path = _split_url(cert_prov_url)
    values = SignInValues(
        sip_servers=tuple(_host(name) for name in sip_servers),
        url_scheme=scheme,
        web_server=_host(host),
        port=port or url_port,
        path=path,
        vlan_id=vlan_id,
        vlan_form=vlan_form,
    )
    _check_octets(values, "--cert-prov-url" if cert_prov_url else "--web-server")
    return values


def _host(name: str) -> str:
    return name.strip().removesuffix(".")


def _check_vlan(vlan_id: int, form: str) -> None:
    if not _LOWEST_VLAN_ID <= vlan_id <= _HIGHEST_VLAN_ID:
        raise UsageError(
            f"--vlan: {vlan_id} is not a VLAN id from {_LOWEST_VLAN_ID} to {_HIGHEST_VLAN_ID}"
        )
    if form == "binary-1" and vlan_id > 0xFF:
        raise UsageError(f"--vlan: {vlan_id} does not fit in the one octet of --vlan-form {form}")


def _split_url(url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"--cert-prov-url: {url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--cert-prov-url: {url!r} is not a URL such as "
            f"https://pool.contoso.com:443{CERT_PROV_REL_PATH}"
        )
    if parts.query or parts.fragment or parts.username:
        raise UsageError(f"--cert-prov-url: {url!r} has more than scheme, name, port and path")
    default = 443 if parts.scheme == "https" else 80
    # `hostname` is in lower case; the octets are to be as they were typed.
    host = parts.netloc.rpartition(":")[0] if port is not None else parts.netloc.rstrip(":")
    return parts.scheme, host, default if port is None else port, parts.path or CERT_PROV_REL_PATH


def _check_octets(values: SignInValues, web_option: str) -> None:
    """Let the decoders of the phone look at it: what they would complain of is refused."""
    try:
        option_120 = values.option_120
    except ValueError as error:
        raise UsageError(f"--sip-server: {error}") from None
    for name in values.sip_servers:
        if name.rpartition(".")[2].isdigit() or "." not in name:
            raise UsageError(
                f"--sip-server: {name} is not a fully qualified name, as it is in the certificate"
            )
    if not values.path.isascii():
        raise UsageError(f"{web_option}: {values.path!r} has other characters than ASCII")
    try:
        encode_sip_servers([values.web_server])  # a host name, like the others
        option_43 = values.option_43
    except ValueError as error:
        raise UsageError(f"{web_option}: {error}") from None
    vlan_option_43 = values.vlan_option_43
    if vlan_option_43 is not None:
        taken = decode_uc_options(vlan_option_43).vlan_id
        if taken != values.vlan_id:
            raise UsageError(
                f"--vlan-form: {values.vlan_form} makes a digit of VLAN {values.vlan_id}, and"
                f" a phone takes VLAN {taken} from it: choose another form"
            )
    warnings = decode_uc_options(option_43).warnings
    if warnings:
        raise UsageError(f"{web_option}: {warnings[0]}")
    for option, octets in ((web_option, option_43), ("--sip-server", option_120)):
        if len(octets) > LONGEST_OPTION:
            raise UsageError(
                f"{option}: the option has {len(octets)} octets, and {LONGEST_OPTION} is the most"
            )
