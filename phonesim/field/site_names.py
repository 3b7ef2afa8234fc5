"""A site's own names, as far as its phones learned them, for remedies to be copied with."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

import msgspec

from phonesim.field.boots import Boot
from phonesim.field.remedies import SCOPE_ID, SIGN_IN_NAMES, Remedy
from phonesim.field.rules.ways import denied_hosts, host_of_url, srv_targets
from phonesim.wire.provisioning import decode_uc_options

_is_fqdn = re.compile(r"(?:[A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*").fullmatch


class SiteNames(msgspec.Struct, frozen=True, kw_only=True):
    """What is empty is not known. `scope` is the network of a lease, such as `192.0.2.0`."""

    web_server: str = ""
    sip_servers: tuple[str, ...] = ()
    scope: str = ""

    def or_else(self, other: SiteNames) -> SiteNames:
        """The same, with what the other knows in place of what is not known."""
        return SiteNames(
            web_server=self.web_server or other.web_server,
            sip_servers=self.sip_servers or other.sip_servers,
            scope=self.scope or other.scope,
        )

    def put_into(self, remedy: Remedy) -> str:
        """How to do it at this site."""
        web, sip = (part.split(" ", 1)[1] for part in SIGN_IN_NAMES.split(" --"))
        named = [f"--web-server {self.web_server or web}"]
        named += [f"--sip-server {each}" for each in self.sip_servers or (sip,)]
        how = remedy.how.replace(SIGN_IN_NAMES, " ".join(named))
        return how.replace(SCOPE_ID, self.scope) if self.scope else how


def names_in(boot: Boot) -> SiteNames:
    """The names that a phone was given and that DNS did not deny."""
    denied = denied_hosts(boot)
    web = [*(_fqdn_of(str(each["hex"])) for each in boot.all("option_43"))]
    web += [host_of_url(each["url"]) for each in boot.all("web_services_located", "cache_used")]
    sip = [host for each in boot.all("option_120") for host in str(each["registrars"]).split("+")]
    good_sip = _good(sip, denied) or _good([*srv_targets(boot)], denied)
    lease = boot.last("dhcp_lease")
    return SiteNames(
        web_server=next(iter(_good(web, denied)), ""),
        sip_servers=good_sip[:2],
        scope="" if lease is None else _network(str(lease["address"]), str(lease["mask"])),
    )


def _good(hosts: list[str], denied: Collection[str]) -> tuple[str, ...]:
    lowered = dict.fromkeys(host.lower() for host in hosts if _is_fqdn(host))
    return tuple(host for host in lowered if host not in denied)


def _fqdn_of(octets: str) -> str:
    try:
        return decode_uc_options(bytes.fromhex(octets)).web_server_fqdn or ""
    except ValueError:
        return ""


def _network(address: str, mask: str) -> str:
    try:
        return str(ipaddress.ip_network(f"{address}/{mask}", strict=False).network_address)
    except ValueError:
        return ""
