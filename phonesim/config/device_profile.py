"""One phone model: identity, DHCP options and order, timers, policies, log dialect."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from phonesim.config.model import Config
from phonesim.wire.provisioning import VLAN_FORMS, VlanForm

Seconds = Annotated[float, Field(ge=0)]
Delays = Annotated[tuple[Seconds, ...], Field(min_length=1)]
TlsVersion = Literal["1.0", "1.1", "1.2"]
DomainTemplate = Annotated[str, Field(pattern=r"^[^{}]*\{domain\}[^{}]*$")]
OptionCode = Annotated[int, Field(ge=1, le=254)]


InventoryText = Annotated[str, Field(max_length=32, pattern=r"^[ -~]*$")]


class VlanConfig(Config):
    """How the phone finds its voice VLAN, and what it says of itself by LLDP-MED."""

    lldp_wait: Seconds = 3
    """Wait for a switch's network policy before DHCP is asked [unknown; 30 s are reported for
    another maker's phones]. 0: the phone does not speak LLDP."""
    dhcp_option: bool = True
    """Where LLDP named no VLAN, take that of option 43 sub-option 10 [documented CX700]."""
    option_forms: tuple[VlanForm, ...] = VLAN_FORMS
    """Accepted forms of sub-option 10: digits, or 1, 2 or 4 octets [unknown]."""
    follows_policy_changes: bool = True
    """Begin again in the new VLAN when a later network policy names another one [unknown]."""
    chassis_id: Literal["network-address", "mac-address"] = "network-address"
    """[documented for the CX5100 and by TIA-1057 section 10.2; for this phone inferred]"""
    lldp_ttl: Annotated[int, Field(ge=1, le=65535)] = 120
    """Time to live of what is advertised [documented for the CX5100; inferred]."""
    lldp_interval: Annotated[float, Field(gt=0)] = 30
    """Seconds between two advertisements [documented IEEE 802.1AB msgTxInterval]."""
    fast_start_count: Annotated[int, Field(ge=1)] = 3
    """Advertisements a second apart at first [documented TIA-1057 medFastStartRepeatCount]."""
    port_description: str | None = None
    """[unknown]"""
    system_name: str | None = None
    """[unknown]"""
    system_description: str | None = "{vendor} {model} {firmware}"
    """`{vendor}`, `{model}` and `{firmware}` are those of the profile [unknown]."""
    hardware_revision: InventoryText | None = "A"
    """[inferred from the Device Update identity]"""
    firmware_revision: InventoryText | None = "{firmware}"
    """[unknown]"""
    software_revision: InventoryText | None = "{firmware}"
    """[unknown]"""
    serial_number: InventoryText | None = "{mac}"
    """`{mac}` are the MAC's twelve digits [unknown]."""
    manufacturer: InventoryText | None = "{vendor}"
    """The inventory vendor string [unknown by LLDP]."""
    asset_id: InventoryText | None = None
    """[unknown]"""
    power: Annotated[float, Field(gt=0, lt=100)] = 6.5
    """Watts that the phone asks for [unknown; PoE 802.3af documented]."""
    mau_type: int = 16
    """Of the network port: 16 is 100BASE-TX full duplex [unknown]."""


class DhcpClientConfig(Config):
    """How the phone speaks DHCP."""

    vendor_class: str = "CPE-OCPHONE"
    """Option 60 of DISCOVER and REQUEST [documented gg398088; the case differs by source]."""
    parameter_request_list: tuple[OptionCode, ...] = (1, 3, 6, 15, 42, 43, 44, 46, 47, 119)
    """Option 55 of DISCOVER and REQUEST, in order [inferred from a public fingerprint]."""
    host_name: str | None = None
    """Option 12; None sends none [inferred]."""
    sends_client_identifier: bool = True
    """Option 61 = 01 + MAC [inferred]."""
    broadcast_flag: bool = False
    """Ask for broadcast replies [unknown]."""
    retransmit_delays: Delays = (4, 8, 16, 32, 64)
    """Back-off [documented RFC 2131 section 4.1; for this phone inferred]."""
    retransmit_jitter: Seconds = 1
    """Each delay is moved by up to this many seconds either way [documented RFC 2131]."""
    secs: Literal["elapsed", "byte-swapped", "zero"] = "elapsed"
    """What the field holds: seconds since the first DISCOVER or renewal [documented RFC 2131
    table 1; for this phone unknown], the same in little-endian order, as old Windows clients send
    it [source: DHCP servers and analysers that allow for it], or always 0 [unknown]."""
    decline_wait: Seconds = 10
    """Pause after DECLINE before INIT [documented RFC 2131 section 3.1 step 5]."""
    direct_renewal: bool = False
    """Renew by unicast. The CE default broadcasts [documented ms884977, DhcpDirectRenewal=0]."""
    reboot_attempts: Annotated[int, Field(ge=1)] = 3
    """INIT-REBOOT requests before falling back to INIT [unknown]."""
    reboot_keeps_lease: bool = False
    """When no server answers INIT-REBOOT, use the old lease for as long as it lasts. RFC 2131
    section 3.2 permits it; it takes a clock that goes on without power [unknown]."""
    address_defence: Literal["once", "never", "always"] = "once"
    """What to do when another host claims the address that is in use. Never: DECLINE it and begin
    anew. Once: announce it, and give it up on another claim within `defend_interval`. Always:
    announce it, whatever follows. The three of RFC 5227 section 2.4 [for this phone unknown]."""
    defend_interval: Seconds = 10
    """DEFEND_INTERVAL [documented RFC 5227 section 1.1; for this phone unknown]."""
    auto_ip: bool = True
    """Take 169.254.0.0/16 when no server answers [documented ms884977, AutoCfg]."""
    auto_ip_retry_interval: Seconds = 300
    """Background search for a server while on AutoIP [documented ms884977, AutoInterval]."""
    auto_ip_candidates: Annotated[int, Field(ge=1)] = 10
    """Link-local addresses tried before giving up [documented aa453971]."""
    releases_on_shutdown: bool = True
    """RELEASE at the end of a run; a phone that loses power cannot [unknown]."""


class ArpConfig(Config):
    """How the phone makes sure that its address is nobody else's, and says that it has it.

    The constants of RFC 5227 section 1.1. The phone's are [unknown]: Windows CE is known to test a
    link-local address by ARP [documented aa453971]. The times are shortened on purpose: with those
    of the standard an address takes four to seven seconds.
    """

    probes: Annotated[int, Field(ge=0, le=10)] = 3
    """PROBE_NUM [documented RFC 5227]; 0 takes every address for free."""
    probe_interval: Annotated[float, Field(ge=0, le=60)] = 0.05
    """From probe to probe. RFC 5227: at random between PROBE_MIN and PROBE_MAX, 1 and 2."""
    announce_wait: Annotated[float, Field(ge=0, le=60)] = 0.1
    """From the last probe to the use of the address. RFC 5227: ANNOUNCE_WAIT, 2."""
    announcements: Annotated[int, Field(ge=0, le=10)] = 2
    """ANNOUNCE_NUM [documented RFC 5227]."""
    announce_interval: Annotated[float, Field(ge=0, le=60)] = 2
    """ANNOUNCE_INTERVAL [documented RFC 5227]."""

    @property
    def probe_seconds(self) -> float:
        """How long it takes to find an address free."""
        return (self.probes - 1) * self.probe_interval + self.announce_wait if self.probes else 0.0


class ResolverConfig(Config):
    """How the phone retries DNS. All values [unknown]; the defaults follow Windows CE practice."""

    attempt_timeouts: Delays = (1, 2, 2, 4)
    """Wait for each attempt; attempts go to the servers of option 6 in turn."""
    caches_answers: bool = True
    """Keep positive answers for their TTL."""
    search: Literal["off", "suffix", "list"] = "off"
    """What names are completed with: nothing, the suffix of option 15 [documented for Windows
    CE 5.0 ms881912, but not when], or each domain of option 119 in turn, and the suffix where
    that is missing [it is asked for; its use is not documented]."""
    search_types: tuple[Literal["A", "SRV"], ...] = ("A",)
    """Lookups that are completed; SRV names have their domain already [inferred]."""
    search_dots: Annotated[int, Field(ge=0)] = 1
    """A name with fewer dots is completed first and asked for as it is last; any other the
    other way round. The next one is asked for when there is no such name or record."""


class ClockConfig(Config):
    """How the phone learns the time."""

    power_on: AwareDatetime = datetime.datetime(2006, 1, 1, tzinfo=datetime.UTC)
    """What the clock believes before NTP [unknown; a Windows CE real-time clock default]."""
    sources: tuple[Literal["ntp-servers", "srv", "time-servers", "time.windows.com"], ...] = (
        "ntp-servers",
        "srv",
        "time-servers",
        "time.windows.com",
    )
    """Order of option 42, SRV _ntp._udp, option 4 and the fallback name
    [sources documented gg398829, precedence unknown]."""
    attempt_timeouts: Delays = (1, 2)
    """Wait for each NTP attempt [unknown]."""
    without_time: Literal["go-on", "stop"] = "go-on"
    """When no server answers: go on with the wrong time, until a certificate is judged by it
    [field msxfaq: certificate errors while the year is wrong], or begin the boot again later
    [unknown]."""
    clears_cache_without_time: bool = False
    """Whether a certificate that is refused while the clock is not set costs the phone its cache
    [unknown; inferred that it does not: the servers in it are not to blame]."""


class TlsConfig(Config):
    """How the phone speaks TLS, beside its rules for certificates (`drivers.trust`)."""

    maximum_version: TlsVersion = "1.2"
    """The newest version that it offers. The phones speak 1.0 alone [field thamaraw, ucvnext], and
    a server that wants more fails their sign-in: set "1.0" to see it. The default is not theirs,
    so that today's servers can be loaded."""
    session_resumption: bool = False
    """Go on with an earlier session of the same server instead of a whole handshake [unknown]."""


class SrvName(Config):
    """One SRV name to ask for; `{domain}` is replaced."""

    qname: DomainTemplate
    transport: Literal["tls", "tcp"]
    scope: Literal["internal", "external"] = "internal"


class FallbackName(Config):
    """One A name that stands for a Registrar when no SRV record exists."""

    qname: DomainTemplate
    port: Annotated[int, Field(ge=1, le=65535)]


class DiscoveryConfig(Config):
    """How the phone finds the Registrar and the Web Services."""

    asks_dhcp: bool = True
    """Send INFORM; every phone does [documented]. Without, DNS is loaded alone."""
    inform_class: str = "MS-UC-Client"
    """Option 60 of INFORM, case-sensitive [documented gg412828]."""
    inform_parameter_request_list: tuple[OptionCode, ...] = (43, 120)
    """Option 55 of INFORM [set documented, order unknown]."""
    inform_delays: Delays = (4, 8)
    """Wait for each INFORM before the next; after the last, DHCP has lost [unknown]."""
    answer_window: Seconds = 2
    """How long, after an answer without an FQDN, others may still bring one [unknown]."""
    domain: Literal["dhcp", "sip"] = "dhcp"
    """Domain of SRV queries before a user is known: option 15, or the SIP domain [unknown]."""
    sip_domain: str | None = None
    """The SIP domain for `domain: sip`, or when option 15 is missing."""
    srv_names: tuple[SrvName, ...] = (
        SrvName(qname="_sipinternaltls._tcp.{domain}", transport="tls"),
        SrvName(qname="_sip._tls.{domain}", transport="tls", scope="external"),
    )
    """SRV names, asked in parallel and used in this order; _sipinternal._tcp only where TCP
    is allowed [documented dd572514]."""
    fallback_names: tuple[FallbackName, ...] = (
        FallbackName(qname="sipinternal.{domain}", port=5061),
        FallbackName(qname="sip.{domain}", port=5061),
        FallbackName(qname="sipexternal.{domain}", port=443),
    )
    """A records tried when no SRV name answers [documented dd572514; ports source]."""
    registrar_port: Annotated[int, Field(ge=1, le=65535)] = 5061
    """Port of a Registrar named by option 120 [documented]."""
    maximum_registrars: Annotated[int, Field(ge=1)] = 2
    """Names of option 120 that are used [documented, device reference section 1 rule 5]."""
    registrar_order: Literal["first-dhcp-answer", "interleaved"] = "first-dhcp-answer"
    """First DHCP answer with an FQDN wins [documented topic]; or the order of gg398713."""
    web_services_fallback: Literal["dns", "none"] = "dns"
    """Without option 43: build the URL from the DNS Registrar name [documented], or fail."""
    cert_prov_rel_path: str = "/CertProv/CertProvisioningService.svc"
    """Path used with a name that DNS gave [documented gg412828]."""
    accepts_raw_names: bool = True
    """Accept option 120 as raw ASCII with a warning [source]."""


class SignInConfig(Config):
    """How the phone gets its web ticket and certificate."""

    chain_port: Annotated[int, Field(ge=1, le=65535)] = 80
    """Port of the anonymous chain download [documented]."""
    renewal_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Renew the certificate when this share of its life is left [unknown]."""
    renewal_retry_delay: Annotated[float, Field(gt=0)] = 3600
    """Pause before a renewal that failed is tried again [unknown]."""
    http_timeout: Seconds = 30
    """Wait for a connection and its answer [unknown]."""
    attempts: Annotated[int, Field(ge=1)] = 2
    """Tries of one exchange after a timeout or a 503 [unknown]."""
    retry_delay: Seconds = 5
    """Pause between them, unless Retry-After says longer [unknown]."""


class IdentityConfig(Config):
    """What the phone keeps of a sign-in, and for how long."""

    reuse_margin: Seconds = 3600
    """A certificate is used again while it has this long to live [source sipe]."""
    refetches_chain: bool = False
    """Sign in anew, and so download the chain of trust again, when a server's certificate is
    refused under the stored one. It is loaded on the very first connect only [field msxfaq], and
    phones fail when their pool moves to another authority [field catapultsystems]."""
    sign_out_forgets: tuple[Literal["certificate", "key", "services"], ...] = (
        "certificate",
        "key",
        "services",
    )
    """What signing out forgets: the certificate with its chain and web ticket, the key, and the
    cached servers: phones that were signed out ask the network [field risual; the rest inferred].
    A factory reset forgets all of it, the last address too [field um.losrios.edu]."""


class RegistrationConfig(Config):
    """How the phone registers and stays registered."""

    expires: Annotated[int, Field(ge=60)] = 600
    """Expires asked for; the server's value rules [documented DefaultEndpointExpiration]."""
    refresh_margin: Seconds = 30
    """Refresh this long before expiry [source]."""
    keep_alive_interval: Annotated[float, Field(gt=0)] = 60
    """CRLFCRLF interval until the server names a timeout [source]."""
    connect_timeout: Seconds = 10
    """Wait for TCP and TLS [unknown]."""
    response_timeout: Seconds = 32
    """Wait for an answer: 64*T1, timer F [documented RFC 3261 section 17.1.2.2]."""
    reconnect_delays: Delays = (5, 10, 20, 40, 60)
    """Pauses after a registration was lost, the last one again and again [unknown]."""
    reconnect_jitter: Annotated[float, Field(ge=0)] = 1
    """A pause is up to this share longer, at random: phones that lost the same Registrar do not
    come back as one [unknown]."""
    failover_delay: Seconds = 30
    """How long the primary Registrar is missed before the backup is asked; a phone that signs in
    asks it at once [unknown]."""
    return_interval: Annotated[float, Field(gt=0)] = 60
    """At the backup, how often the phone looks whether the primary is back [unknown]."""
    maximum_redirects: Annotated[int, Field(ge=0)] = 3
    """301 answers that are followed one after another [unknown]."""
    maximum_retry_after: Seconds = 300
    """The longest Retry-After that is waited for [unknown]."""
    provisioning: bool = True
    """Subscribe to in-band provisioning after registering [documented MS-SIPREGE]."""
    provisioning_expires: Annotated[int, Field(ge=0)] = 28800
    """Expires of that subscription; 0 asks once, as Communicator does [source]; the phone's is
    unknown."""
    provisioning_timeout: Annotated[float, Field(gt=0)] = 10
    """How long the sign-in waits for it; then it goes on with what discovery found [unknown]."""
    provisioning_groups: tuple[str, ...] = (
        "ServerConfiguration",
        "ucPolicy",
        "endpointConfiguration",
    )
    """What it asks for [source, for Communicator; the phone's list is unknown]."""
    supported: tuple[str, ...] = (
        "gruu-10",
        "adhoclist",
        "msrtc-event-categories",
        "ms-userservices-state-notification",
    )
    """Supported tags [documented MS-SIPREGE; which of them the phone sends is unknown]."""
    authentication: Annotated[
        tuple[Literal["tls-dsk", "ntlm", "digest"], ...], Field(min_length=1)
    ] = ("tls-dsk", "digest")
    """Schemes that the phone answers, best first. TLS-DSK before NTLM [source]; Digest is for
    ordinary registrars. Kerberos needs a ticket that no phone has."""
    inner_tls: Literal["tls1.0", "tls1.2"] = "tls1.0"
    """The newest TLS of the handshake within TLS-DSK [source]; servers of today may want 1.2."""
    association_lifetime: Annotated[float, Field(gt=0)] = 28800
    """How long the phone signs with the keys of one handshake, at most [source]."""
    association_margin: Seconds = 300
    """Authenticate anew this long before that, or before the certificate expires [source: it
    SHOULD be at least 5 minutes]."""
    password: str | None = None
    """Password for Digest and NTLM at SIP; None uses what the user signed in with."""


class DisplayConfig(Config):
    """Texts of the phone's display, by failure reason or state."""

    acquiring: str = "Acquiring IP Address"
    """VLAN and DHCP phase [documented]."""
    locating: str = "Locating the server to download the certificate"
    """Before Web Services [documented]."""
    connecting: str = "Connecting to Lync Server"
    """Registering [field]."""
    reset: str = ""
    """Before a factory reset [field um.losrios.edu]."""
    signed_in: str = ""
    """Home screen [unknown]."""
    reconnecting: str = "Cannot connect to the server. Retrying."
    """The registration was lost, and another one is being made [field, for a failed sign-in]."""
    survivable: str = "Limited functionality due to outage."
    """Registered at the backup, or without User Services [unknown wording]."""
    failures: dict[str, str] = {}
    """Text by failure reason; one that is not listed shows `failure`."""
    failure: str = "Cannot sign in to Microsoft Lync."
    """Any other failure [unknown wording]."""


class LogRecordText(Config):
    """One record of the device log's dialect."""

    zone: str
    """Debug zone name, as the driver prints it."""
    text: str
    """The text; every field of the record appears once, in braces."""


class DeviceLogConfig(Config):
    """The device log's dialect. No sample of the real file is public: all of it is synthetic."""

    path: str = "DSK1/logs/cpsw3g.log"
    """Path on the virtual disk [documented]."""
    maximum_size: Annotated[int, Field(ge=4096)] = 1024000
    """Octets before the file is renamed to .bak and begun anew [unknown; MaxLogFileSize]."""
    records: dict[str, LogRecordText]
    """Text of every record that the phone can write."""


class DeviceProfile(Config):
    """A phone model."""

    name: str
    description: str = ""
    vendor: str
    """Inventory vendor string [documented]."""
    model: str
    """Inventory model string [documented]."""
    firmware: str = "4.0.7577.4066"
    """Firmware version [field]."""
    user_agent: str = "CPE/{firmware} OCPhone/{firmware} (Microsoft Lync 2010 Phone Edition)"
    """User-Agent of SIP [inferred from the one published string]."""
    oui: Annotated[str, Field(pattern=r"^([0-9A-F]{2}:){2}[0-9A-F]{2}$")]
    """First three octets of the MAC [source: Wireshark manuf], or a locally administered one."""
    usb_tether: bool = False
    """Whether its user can sign in with a password, on a computer at its USB port [documented: the
    models with NTLM can]."""
    retry_delay: Seconds = 60
    """Pause before a failed boot starts over, by itself [unknown]."""
    vlan: VlanConfig = VlanConfig()
    dhcp: DhcpClientConfig = DhcpClientConfig()
    arp: ArpConfig = ArpConfig()
    resolver: ResolverConfig = ResolverConfig()
    clock: ClockConfig = ClockConfig()
    tls: TlsConfig = TlsConfig()
    discovery: DiscoveryConfig = DiscoveryConfig()
    sign_in: SignInConfig = SignInConfig()
    identity: IdentityConfig = IdentityConfig()
    registration: RegistrationConfig = RegistrationConfig()
    display: DisplayConfig = DisplayConfig()
    log: DeviceLogConfig
