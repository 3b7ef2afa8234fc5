"""A whole phone on a bench: it says what it wants, the bench answers as a site would.

Each step answers what the phone asked last, so a test reads like the boot it is about:

    bench = Bench()
    bench.bind()
    bench.tell_time()
    bench.inform_ack(...)
"""

from __future__ import annotations

import msgspec
from playing import Dice

from phonesim.device.actions import (
    AdvertiseLldp,
    DeleteFile,
    MakeCertificateRequest,
    OpenConnection,
    ProbeAddress,
    SendDhcp,
    SendDns,
    SendHttp,
    SendNtp,
    SendSip,
    WriteFile,
    WriteLog,
)
from phonesim.device.device_log import Dialect, LogRecord
from phonesim.device.events import (
    AddressProbed,
    CertificateChecked,
    CertificateRequestMade,
    ConnectionOpened,
    DhcpMessageReceived,
    DnsResponseReceived,
    HttpFailed,
    HttpResponseReceived,
    LldpReceived,
    NtpPacketReceived,
    PowerApplied,
    SignedIn,
    SipMessageReceived,
    TimerExpired,
)
from phonesim.device.identity import IDENTITY_FILE, KEY_FILE
from phonesim.device.phone import Phone
from phonesim.profiles import DEVICE, load
from phonesim.wire.cert_provisioning import GetAndPublishCertResponse, GetRootCertChainsResponse
from phonesim.wire.dhcp import (
    BOOTREPLY,
    DhcpMessage,
    MessageType,
    Option,
    encode_addresses,
    encode_u32,
)
from phonesim.wire.dns import DnsRecord, DnsResponse, SrvData
from phonesim.wire.http import HttpResponse
from phonesim.wire.lldp import (
    CHASSIS_MAC,
    MED_CAPABILITIES,
    MED_POLICY,
    NETWORK_CONNECTIVITY,
    PORT_INTERFACE_NAME,
    LldpUnit,
    NetworkPolicy,
)
from phonesim.wire.ntp import SERVER, NtpPacket, from_unix
from phonesim.wire.provisioning import UcOptions, encode_sip_servers, encode_uc_options
from phonesim.wire.sip import response_to
from phonesim.wire.web_services_metadata import (
    PIN_PORT,
    PROOF_PORT,
    ServiceMetadata,
    ServicePort,
)
from phonesim.wire.web_ticket import RequestSecurityTokenResponse

PROFILE = load(DEVICE, "polycom-cx600")
DIALECT = Dialect(PROFILE.log.records)
MAC = bytes.fromhex("0004F2000001")
SWITCH = bytes.fromhex("020000000001")
NUMBER, PIN = "+14255550001", "8000014"
SIP_URI = "sip:user00001@contoso.com"
ADDRESS, DHCP, OTHER_DHCP = "10.0.0.50", "10.0.0.1", "10.0.0.2"
DNS, NTP, WEB = "10.0.0.3", "10.0.0.5", "10.0.0.20"
PATH = "/CertProv/CertProvisioningService.svc"
POOL = "webpool.contoso.com"
FE01, FE02 = "fe01.contoso.com", "fe02.contoso.com"
INTERNAL, EXTERNAL = "_sipinternaltls._tcp.contoso.com", "_sip._tls.contoso.com"
PROVISIONING_SERVICE = ServiceMetadata(
    service="CertProvisioningService",
    ports=(
        ServicePort(
            name=PROOF_PORT,
            location=f"https://{POOL}:443{PATH}/WebTicket_Proof",
            issuer=f"https://{POOL}:443/WebTicket/WebTicketService.svc",
            needs_proof=True,
        ),
    ),
)
TICKET_SERVICE = ServiceMetadata(
    service="WebTicketService",
    ports=(
        ServicePort(
            name=PIN_PORT, location=f"https://{POOL}:443/WebTicket/WebTicketService.svc/Pin"
        ),
    ),
)
TRUE_TIME = 1767596400.0


class Bench:
    """A phone under power, from its first moment, on a switch that says that voice is untagged.

    Unless the bench `answers_lldp`, it says nothing.
    """

    def __init__(
        self,
        files=None,
        profile=PROFILE,
        rng=None,
        answers_lldp=True,
        factory_reset=False,
        **limits,
    ):
        self.phone = Phone(profile, MAC, NUMBER, PIN, rng or Dice(), **limits)
        self.now = 0.0
        self.files = dict(files or {})
        self.all = []
        self.step = []
        has_key = KEY_FILE in self.files
        self.give(
            PowerApplied(files=dict(self.files), has_key=has_key, factory_reset=factory_reset)
        )
        if answers_lldp and of(self.step, AdvertiseLldp):
            self.name_vlan(None)

    # --- driving ---

    def give(self, event, after=0.0):
        """Let the phone handle an event some seconds later; what it wants and shows."""
        self.now += after
        outputs = self.phone.handle(event, self.now)
        for output in outputs:
            if isinstance(output, WriteFile):
                self.files[output.name] = output.data
            elif isinstance(output, DeleteFile):
                self.files.pop(output.name, None)
            elif isinstance(output, MakeCertificateRequest):
                self.files[KEY_FILE] = b"key"
        self.step = outputs
        self.all += outputs
        return outputs

    def wait(self):
        """Let time pass until the next deadline."""
        deadline = self.phone.next_deadline()
        assert deadline is not None
        self.now = max(self.now, deadline[0])
        return self.give(TimerExpired())

    def wait_for(self, kind, **fields):
        """Let time pass until the phone wants or shows something of that kind."""
        for _ in range(100):
            outputs = self.wait()
            if of(outputs, kind, **fields):
                return outputs
        raise AssertionError(f"no {kind.__name__} came")

    # --- looking ---

    def last(self, kind, **fields):
        """What the phone wanted last, of that kind."""
        return of(self.all, kind, **fields)[-1]

    def wants(self, kind, **fields):
        """What the last step wanted or showed, of that kind."""
        return of(self.step, kind, **fields)

    def records(self, kind, outputs=None):
        """The values of the log records of a kind, of the whole boot or of some outputs."""
        return [
            record.values
            for output in of(self.all if outputs is None else outputs, WriteLog)
            for record in output.records
            if isinstance(record, LogRecord) and record.name == kind.name
        ]

    def text(self):
        """The device log as it is on the disk."""
        return "".join(
            DIALECT.format(output.records, output.clock, output.tick)
            for output in of(self.all, WriteLog)
        )

    # --- answering ---

    def name_vlan(self, vlan_id, **fields):
        """Send a network policy for voice, tagged if there is a VLAN."""
        policy = {"is_tagged": vlan_id is not None, "vlan_id": vlan_id or 0, **fields}
        unit = LldpUnit(
            chassis_subtype=CHASSIS_MAC,
            chassis_id=SWITCH,
            port_subtype=PORT_INTERFACE_NAME,
            port_id=b"ge-1",
            ttl=120,
            med_capabilities=MED_CAPABILITIES | MED_POLICY,
            device_class=NETWORK_CONNECTIVITY,
            policies=(NetworkPolicy(**policy),),
        )
        return self.give(LldpReceived(unit=unit))

    def dhcp(self, message_type, *, server=DHCP, address=ADDRESS, lease=3600, **options):
        """Answer the DHCP message that was sent last."""
        own = {
            Option.DHCP_MESSAGE_TYPE: bytes((message_type,)),
            Option.SERVER_IDENTIFIER: encode_addresses((server,)),
        }
        if message_type is not MessageType.NAK:
            own |= {
                Option.IP_ADDRESS_LEASE_TIME: encode_u32(lease),
                Option.SUBNET_MASK: encode_addresses(("255.255.0.0",)),
                Option.DOMAIN_NAME_SERVER: encode_addresses((DNS,)),
                Option.NTP_SERVERS: encode_addresses((NTP,)),
                Option.DOMAIN_NAME: b"contoso.com",
            }
        for name, value in options.items():
            own.pop(Option[name], None)
            if value is not None:
                own[Option[name]] = value
        return self.give(self._dhcp_reply(message_type, server, address, own))

    def inform_ack(self, *, host=None, registrars=(), server=DHCP, after=0.0):
        """Answer the INFORM; without a host no option 43, without Registrars no option 120."""
        options = {
            Option.DHCP_MESSAGE_TYPE: bytes((MessageType.ACK,)),
            Option.SERVER_IDENTIFIER: encode_addresses((server,)),
        }
        if host is not None:
            options[Option.VENDOR_SPECIFIC_INFORMATION] = encode_uc_options(
                UcOptions(
                    uc_identifier="MS-UC-Client",
                    url_scheme="https",
                    web_server_fqdn=host,
                    web_server_port=443,
                    cert_prov_rel_path=PATH,
                )
            )
        if registrars:
            options[Option.SIP_SERVERS] = encode_sip_servers(registrars)
        xid = self.last_inform().message.xid
        reply = self._dhcp_reply(MessageType.ACK, server, "0.0.0.0", options, xid)
        return self.give(reply, after)

    def informs(self):
        """Every INFORM sent."""
        return [
            sent
            for sent in of(self.all, SendDhcp)
            if sent.message.message_type is MessageType.INFORM
        ]

    def last_inform(self):
        """The INFORM sent last."""
        return self.informs()[-1]

    def probe(self, conflict=None):
        """End the ARP probe that was asked for last."""
        address = self.last(ProbeAddress).address
        return self.give(AddressProbed(address=address, conflict=conflict), 0.2)

    def bind(self, **fields):
        """Give the phone a lease, whichever way it asks for one."""
        if self.last(SendDhcp).message.message_type is MessageType.DISCOVER:
            self.dhcp(MessageType.OFFER, **fields)
        self.dhcp(MessageType.ACK, **fields)
        return self.probe()

    def tell_time(self, at=TRUE_TIME):
        """Answer the NTP packet."""
        sent = self.last(SendNtp)
        packet = NtpPacket(
            mode=SERVER,
            stratum=2,
            originate=sent.packet.transmit,
            receive=from_unix(at),
            transmit=from_unix(at),
        )
        return self.give(NtpPacketReceived(packet=packet, server=sent.server))

    def asked(self, qname):
        """The query for a name that was sent last, or None."""
        return next(
            (sent for sent in reversed(of(self.all, SendDns)) if sent.query.qname == qname), None
        )

    def resolve(self, qname, *data, rcode="NOERROR", ttl=0):
        """Answer the query for a name: addresses, or (priority, port, target) triples."""
        sent = self.asked(qname)
        assert sent is not None, f"{qname} was not asked for"
        records = tuple(
            DnsRecord(qname, "A", ttl, entry)
            if isinstance(entry, str)
            else DnsRecord(qname, "SRV", ttl, SrvData(entry[0], 0, entry[1], entry[2]))
            for entry in data
        )
        response = DnsResponse(
            id=sent.query.id, qname=qname, qtype=sent.query.qtype, rcode=rcode, answers=records
        )
        return self.give(DnsResponseReceived(response=response, server=sent.server))

    def no_srv(self):
        """Say of both SRV names that they do not exist."""
        self.resolve(INTERNAL, rcode="NXDOMAIN")
        return self.resolve(EXTERNAL, rcode="NXDOMAIN")

    def http(self, message=None, status=200):
        """Answer the HTTP request that was sent last."""
        response = HttpResponse(status=status, message=message)
        number = self.last(SendHttp).exchange_id
        return self.give(HttpResponseReceived(exchange_id=number, response=response))

    def no_http(self, failure):
        """Let the HTTP request that was sent last fail."""
        number = self.last(SendHttp).exchange_id
        return self.give(HttpFailed(exchange_id=number, failure=failure, detail="it broke"))

    def give_chain(self):
        """Answer GetRootCertChains."""
        return self.http(GetRootCertChainsResponse(chain=b"the chain"))

    def describe_services(self):
        """Answer both requests for metadata."""
        self.http(PROVISIONING_SERVICE)
        return self.http(TICKET_SERVICE)

    def give_ticket(self):
        """Answer RequestSecurityToken."""
        context = self.last(SendHttp).request.message.context
        return self.http(
            RequestSecurityTokenResponse(
                context=context,
                assertion_id="SamlSecurityToken-1",
                assertion=b"<saml/>",
                created=int(TRUE_TIME),
                expires=int(TRUE_TIME) + 28800,
                entropy=b"s" * 32,
                sip_uri=SIP_URI,
            )
        )

    def make_key(self):
        """Make the certificate request that was asked for."""
        subject = self.last(MakeCertificateRequest).subject
        return self.give(CertificateRequestMade(subject=subject, csr=b"a request"))

    def give_certificate(self):
        """Answer GetAndPublishCert."""
        entity = self.last(SendHttp).request.message.entity
        self.http(
            GetAndPublishCertResponse(certificate=b"a certificate", device_id="x", entity=entity)
        )
        return self.give(CertificateChecked(certificate=b"a certificate", problem=""))

    def sign_in(self, host=POOL):
        """Let the phone authenticate at the web services of that name."""
        self.resolve(host, WEB)
        self.give_chain()
        self.describe_services()
        self.give_ticket()
        self.make_key()
        return self.give_certificate()

    def connect(self, host=FE01):
        """Let the phone connect to the Registrar of that name."""
        self.resolve(host, "10.0.0.21")
        number = self.last(OpenConnection).connection_id
        return self.give(
            ConnectionOpened(connection_id=number, local_address=ADDRESS, local_port=50001)
        )

    def sip(self, status, reason="OK", **fields):
        """Answer the REGISTER that was sent last."""
        sent = self.last(SendSip)
        response = response_to(sent.message, status, reason, **fields)
        return self.give(SipMessageReceived(connection_id=sent.connection_id, message=response))

    def accept(self):
        """Accept the REGISTER that was sent last."""
        (contact,) = self.last(SendSip).message.contacts
        return self.sip(200, contacts=(msgspec.structs.replace(contact, expires=600),))

    def register(self, host=FE01):
        """Let the phone register at the Registrar of that name."""
        self.connect(host)
        return self.accept()

    def boot(self):
        """A whole boot at a healthy site."""
        self.bind()
        self.tell_time()
        if self.informs():
            self.inform_ack(host=POOL, registrars=(FE01, FE02))
            self.no_srv()
        self.sign_in()
        outputs = self.register()
        assert of(outputs, SignedIn)
        return outputs

    def reboot(self, profile=PROFILE, keeps_identity=False, **options):
        """Cut the power and apply it again: another phone with the same disk.

        Unless it `keeps_identity`, somebody has erased that.
        """
        kept = dict(self.files)
        if not keeps_identity:
            kept.pop(IDENTITY_FILE, None)
            kept.pop(KEY_FILE, None)
        return Bench(kept, profile, **options)

    def _dhcp_reply(self, message_type, server, address, options, xid=None):
        message = DhcpMessage(
            message_type=message_type,
            op=BOOTREPLY,
            xid=self.last(SendDhcp).message.xid if xid is None else xid,
            chaddr=MAC,
            yiaddr="0.0.0.0" if message_type is MessageType.NAK else address,
            options=options,
        )
        return DhcpMessageReceived(message=message, source=server)


def of(outputs, kind, **fields):
    """The outputs of a class, with these values."""
    return [
        output
        for output in outputs
        if isinstance(output, kind)
        and all(getattr(output, name) == value for name, value in fields.items())
    ]
