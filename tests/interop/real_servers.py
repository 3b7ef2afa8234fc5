"""Servers that this project did not write, configured as their manuals say.

Each function writes a configuration into the lab's folder, starts the server in the
servers' namespace, and returns when it listens.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dhcp_daemons import serve_dnsmasq, serve_kea
from netlab import (
    DHCP,
    DNS,
    DOMAIN,
    FE01,
    FE01_NAME,
    FE02,
    FE02_NAME,
    NTP,
    OPTION_43,
    OPTION_120,
    WEB,
    WEB_NAME,
    Lab,
)

FIRST, LAST = "10.77.16.1", "10.77.31.254"
RELAY_LEASES = "kea-leases.csv"
KEA_UC_OPTIONS = {
    "option-def": [{"name": "uc-sip-servers", "code": 120, "type": "binary", "space": "dhcp4"}],
    "client-classes": [
        {
            "name": "uc",
            "test": "option[60].text == 'MS-UC-Client'",
            "option-def": [{"name": "vendor-encapsulated-options", "code": 43, "type": "binary"}],
            "option-data": [
                {
                    "name": "vendor-encapsulated-options",
                    "csv-format": False,
                    "data": OPTION_43.hex(),
                },
                {
                    "name": "uc-sip-servers",
                    "csv-format": False,
                    "data": OPTION_120.hex(),
                },
            ],
        }
    ],
}
"""Options 43 and 120 for class MS-UC-Client, as Kea is told of them."""
_KAMAILIO_TELLS = (
    'xlog("L_WARN", "registering $fu by $proto from $si for $hdr(Expires) cseq $cs\\n");'
)
A_RECORDS = {
    WEB_NAME: WEB,
    FE01_NAME: FE01,
    FE02_NAME: FE02,
    f"sip.{DOMAIN}": FE01,
    f"sipinternal.{DOMAIN}": FE01,
}


def start_dnsmasq(
    lab: Lab,
    *,
    serves_dns: bool,
    option_43: bytes | None = OPTION_43,
    has_registrar_names: bool = True,
    search_list: Sequence[str] = (),
    elsewhere: tuple[str, str, str] | None = None,
) -> None:
    """dnsmasq: DHCP, and DNS too if `serves_dns`; `search_list` is option 119.

    Without `has_registrar_names` it has no SRV record, nor any name that takes its place.
    It serves another network too: `elsewhere` is an interface, and its first and last address.
    """
    lines = [
        f"listen-address={DHCP}",
        "bind-interfaces",
        "no-resolv",
        "no-hosts",
        f"port={53 if serves_dns else 0}",
        f"dhcp-range={FIRST},{LAST},255.255.0.0,1h",
        f"dhcp-option=option:dns-server,{DHCP if serves_dns else DNS}",
        f"dhcp-option=option:ntp-server,{NTP}",
        f"dhcp-option=option:domain-name,{DOMAIN}",
        "dhcp-vendorclass=set:uc,MS-UC-Client",
        f"dhcp-option=tag:uc,option:sip-server,{FE01_NAME},{FE02_NAME}",
        "dhcp-authoritative",
    ]
    lines += (
        f"host-record={name},{address}"
        for name, address in A_RECORDS.items()
        if has_registrar_names or not name.startswith("sip")
    )
    if has_registrar_names:
        lines += (
            f"srv-host=_sipinternaltls._tcp.{DOMAIN},{FE01_NAME},5061,10",
            f"srv-host=_sipinternaltls._tcp.{DOMAIN},{FE02_NAME},5061,20",
        )
    if option_43 is not None:
        lines.append(f"dhcp-option=tag:uc,43,{option_43.hex(':')}")
    if search_list:
        lines.append(f"dhcp-option=option:domain-search,{','.join(search_list)}")
    if elsewhere is not None:
        interface, first, last = elsewhere
        lines += [f"interface={interface}", f"dhcp-range={first},{last},255.255.0.0,1h"]
    if serves_dns:
        lines.append("log-queries")
    serve_dnsmasq(lab, lines)


def start_dnsmasq_for_relays(lab: Lab, subnets: Sequence[str]) -> None:
    """dnsmasq, DHCP only, for clients behind relay agents: a range in each /16."""
    lines = [
        "interface=servers0",
        "except-interface=lo",
        "port=0",
        "dhcp-authoritative",
        *(f"dhcp-range={subnet}.16.1,{subnet}.31.254,255.255.0.0,1h" for subnet in subnets),
    ]
    serve_dnsmasq(lab, lines)


def start_kea(lab: Lab, *, is_quiet: bool = False) -> None:
    """Kea DHCPv4, with options 43 and 120 for class MS-UC-Client.

    A quiet one logs no leases, and has all the addresses of the network to give.
    """
    first, last = ("10.77.1.1", "10.77.255.254") if is_quiet else (FIRST, LAST)
    members = {
        "interfaces-config": {"interfaces": [f"servers0/{DHCP}"], "dhcp-socket-type": "raw"},
        "lease-database": {"type": "memfile", "persist": False},
        "valid-lifetime": 3600,
        "authoritative": True,
        **KEA_UC_OPTIONS,
        "subnet4": [
            {
                "id": 1,
                "subnet": "10.77.0.0/16",
                "pools": [{"pool": f"{first} - {last}"}],
                "option-data": [
                    {"name": "domain-name-servers", "data": DNS},
                    {"name": "ntp-servers", "data": NTP},
                    {"name": "domain-name", "data": DOMAIN},
                ],
            }
        ],
    }
    serve_kea(lab, members, is_quiet=is_quiet)


def start_kea_for_relays(lab: Lab, subnets: Sequence[str], *, renew_timer: int = 1800) -> None:
    """Kea DHCPv4 for clients behind relay agents: a scope for each /16, its pool above .16.0.

    The lease file keeps what the agents say in option 82.
    """
    members = {
        "interfaces-config": {"interfaces": [f"servers0/{DHCP}"], "dhcp-socket-type": "udp"},
        "lease-database": {
            "type": "memfile",
            "persist": True,
            "name": str(lab.folder / RELAY_LEASES),
            "lfc-interval": 0,
        },
        "store-extended-info": True,
        "valid-lifetime": 3600,
        "renew-timer": renew_timer,
        **KEA_UC_OPTIONS,
        "authoritative": True,
        "subnet4": [
            {
                "id": number,
                "subnet": f"{subnet}.0.0/16",
                "pools": [{"pool": f"{subnet}.16.1 - {subnet}.31.254"}],
                "option-data": [
                    {"name": "routers", "data": f"{subnet}.0.1"},
                    {"name": "domain-name-servers", "data": DNS},
                    {"name": "ntp-servers", "data": NTP},
                    {"name": "domain-name", "data": DOMAIN},
                ],
            }
            for number, subnet in enumerate(subnets, 1)
        ],
    }
    serve_kea(lab, members)


def start_bind(
    lab: Lab,
    *,
    has_srv: bool = True,
    refuses: bool = False,
    more_registrars: int = 0,
) -> None:
    """BIND, authoritative for the domain; if it `refuses`, for nobody.

    `more_registrars` are SRV records beside the two.
    """
    folder = lab.folder
    records = [
        "$TTL 3600",
        f"@ IN SOA ns.{DOMAIN}. admin.{DOMAIN}. 1 3600 600 86400 300",
        f"@ IN NS ns.{DOMAIN}.",
        f"ns.{DOMAIN}. IN A {DNS}",
        *(
            f"{name}. IN A {address}"
            for name, address in A_RECORDS.items()
            if has_srv or "sip" not in name
        ),
    ]
    if has_srv:
        records += [
            f"_sipinternaltls._tcp IN SRV 10 0 5061 {FE01_NAME}.",
            f"_sipinternaltls._tcp IN SRV 20 0 5061 {FE02_NAME}.",
            *(
                f"_sipinternaltls._tcp IN SRV 30 {number} 5061 spare{number}.{DOMAIN}."
                for number in range(more_registrars)
            ),
        ]
    (folder / "zone.db").write_text("\n".join(records) + "\n")
    (folder / "named.conf").write_text(
        f"""
options {{
    directory "{folder}";
    listen-on {{ {DNS}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    querylog yes;
    allow-query {{ {"none" if refuses else "any"}; }};
    pid-file "{folder}/named.pid";
    session-keyfile "{folder}/session.key";
}};
controls {{ }};
zone "{DOMAIN}" {{ type primary; file "zone.db"; }};
"""
    )
    lab.serve(
        "named",
        ["named", "-g", "-4", "-c", str(folder / "named.conf")],
        lambda: lab.is_listening("udp", DNS, 53) and "running" in lab.output("named"),
    )


def start_mock_site(lab: Lab, *, registrars: bool = True) -> None:
    """Start this project's own web services, NTP server and, if wanted, registrars.

    The certificate that Kamailio shows is made by the same authority, so that phones
    trust it by the chain that they download.
    """
    script = Path(__file__).with_name("serve_site.py")
    ready = lab.folder / "site.ready"
    lab.serve(
        "site",
        [sys.executable, str(script), str(lab.folder), "registrars" if registrars else "none"],
        ready.exists,
    )


def make_certificate(folder: Path, name: str) -> Path:
    """Let OpenSSL make an authority, and a certificate of it for FE01; the authority's file.

    The key and the certificate are FE01's files in `folder`, as `start_mock_site` makes them.
    """
    authority, key = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}"]
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject),
        *("-keyout", str(key), "-out", str(authority)),
    )
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", f"/CN={FE01_NAME}", "-addext", f"subjectAltName=DNS:{FE01_NAME},IP:{FE01}"),
        *("-addext", "basicConstraints=CA:FALSE", "-CA", str(authority), "-CAkey", str(key)),
        *("-keyout", str(folder / "fe01.key"), "-out", str(folder / "fe01.pem")),
    )
    return authority


def start_kamailio(
    lab: Lab,
    password: str,
    *,
    maximum_expires: int = 900,
    processes: int = 2,
    memory_mb: int = 64,
    is_quiet: bool = False,
) -> None:
    """Kamailio on FE01: SIP over TLS and TCP, Digest with one password for every user.

    A quiet one does not tell who registers.
    """
    folder = lab.folder
    tells = "" if is_quiet else _KAMAILIO_TELLS
    (folder / "tls.cfg").write_text(
        f"""[server:default]
method = TLSv1.2+
verify_certificate = no
require_certificate = no
private_key = {folder}/fe01.key
certificate = {folder}/fe01.pem
"""
    )
    (folder / "kamailio.cfg").write_text(
        f"""#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children={processes}
tcp_children={processes}
tcp_max_connections=40000
tls_max_connections=40000
tcp_connection_lifetime=3605
enable_tls=yes
listen=tls:{FE01}:5061
listen=tcp:{FE01}:5060
disable_tcp=no
dns=no
rev_dns=no
loadmodule "tls.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "sanity.so"
loadmodule "textops.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
loadmodule "kex.so"
loadmodule "ctl.so"
modparam("ctl", "binrpc", "unix:{folder}/kamailio.ctl")
modparam("tls", "config", "{folder}/tls.cfg")
modparam("auth", "nonce_expire", 300)
modparam("registrar", "max_expires", {maximum_expires})
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (!sanity_check("17895", "7")) {{ exit; }}
    if (!is_method("REGISTER")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    if (!pv_www_authenticate("$fd", "{password}", "0")) {{ www_challenge("$fd", "1"); exit; }}
    if ($au != $fU) {{ sl_send_reply("403", "Forbidden"); exit; }}
    {tells}
    if (!save("location")) {{ sl_reply_error(); }}
}}
"""
    )
    lab.serve(
        "kamailio",
        [
            *("kamailio", "-DD", "-E", "-m", str(memory_mb), "-M", "8"),
            *("-Y", str(folder), "-P", str(folder / "kamailio.pid")),
            *("-f", str(folder / "kamailio.cfg")),
        ],
        lambda: lab.is_listening("tcp", FE01, 5061),
    )


def kamailio_contacts(lab: Lab) -> set[str]:
    """The users that Kamailio holds a contact of."""
    told = subprocess.run(
        ["kamcmd", "-s", f"unix:{lab.folder}/kamailio.ctl", "ul.dump"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return set(re.findall(r"AoR: (\S+)", told))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
