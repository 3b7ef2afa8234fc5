"""In-band provisioning: what a phone asks for with SUBSCRIBE, and what it is told.

The envelope (groups, properties) is published. **Which properties name the Registrars and the
web services is not**: those names stand here, and nowhere else, and are this project's own.

Specifications: [MS-SIPREGE] (Event vnd-microsoft-provisioning-v2), sign-in reference section
17.2. Grades: request and its namespace [source], group list and property of the answer [field],
the three property names [unknown].
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from phonesim.errors import DecodeError
from phonesim.wire.sip_server import SipServer, read_server_uri
from phonesim.wire.xml_document import attribute_xml, local_name, parse_document, text_of, text_xml

EVENT = "vnd-microsoft-provisioning-v2"
CONTENT_TYPE = "application/vnd-microsoft-roaming-provisioning-v2+xml"

_REQUEST_NAMESPACE = "http://schemas.microsoft.com/2006/09/sip/provisioninggrouplist"
_ANSWER_NAMESPACE = "http://schemas.microsoft.com/2006/09/sip/provisiongrouplist-notification"
_GROUP = "endpointConfiguration"
_PRIMARY = "primaryRegistrar"
_BACKUP = "backupRegistrar"
_WEB_SERVICES = "certProvisioningUrl"


_URL = re.compile(r"(https?)://([A-Za-z0-9.\-]{1,253})(?::([0-9]{1,5}))?(/[!-~]*)", re.IGNORECASE)
_STANDARD_PORTS = {"http": 80, "https": 443}


class ServiceUrl(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a web service is. `scheme` is "http" or "https"."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def text(self) -> str:
        """The URL."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"


class InbandProvisioning(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a phone uses of it. `registrars` are the primary and the backup, if they are named."""

    registrars: tuple[SipServer, ...] = ()
    web_services: ServiceUrl | None = None


def encode_provisioning_request(groups: Sequence[str]) -> bytes:
    """The body of a SUBSCRIBE for these groups."""
    wanted = "".join(f'<provisioningGroup name="{attribute_xml(name)}"/>' for name in groups)
    text = f'<provisioningGroupList xmlns="{_REQUEST_NAMESPACE}">{wanted}</provisioningGroupList>'
    return text.encode()


def decode_provisioning_request(body: bytes) -> tuple[str, ...]:
    """The groups that a SUBSCRIBE asks for; DecodeError if it is no such list."""
    root = parse_document(body)
    if root.tag != f"{{{_REQUEST_NAMESPACE}}}provisioningGroupList":
        raise DecodeError(f"{local_name(root)} is no provisioningGroupList")
    return tuple(group.get("name", "") for group in root.iterchildren(f"{{{_REQUEST_NAMESPACE}}}*"))


def encode_inband_provisioning(told: InbandProvisioning) -> bytes:
    """The body of a NOTIFY, or of the answer that takes its place."""
    values = [
        (name, server.uri)
        for name, server in zip((_PRIMARY, _BACKUP), told.registrars, strict=False)
    ]
    if told.web_services is not None:
        values.append((_WEB_SERVICES, told.web_services.text))
    properties = "".join(
        f'<property name="{name}">{text_xml(value)}</property>' for name, value in values
    )
    group = f'<provisionGroup name="{_GROUP}">{properties}</provisionGroup>'
    text = f'<provisionGroupList xmlns="{_ANSWER_NAMESPACE}">{group}</provisionGroupList>'
    return text.encode()


def decode_inband_provisioning(body: bytes) -> InbandProvisioning:
    """Read it; groups and properties of other names are passed over. DecodeError if malformed."""
    root = parse_document(body)
    if root.tag != f"{{{_ANSWER_NAMESPACE}}}provisionGroupList":
        raise DecodeError(f"{local_name(root)} is no provisionGroupList")
    values: dict[str, str] = {}
    for group in root.iterchildren(f"{{{_ANSWER_NAMESPACE}}}provisionGroup"):
        if group.get("name") != _GROUP:
            continue
        for entry in group.iterchildren(f"{{{_ANSWER_NAMESPACE}}}property"):
            name = entry.get("name", "")
            if name in values:
                raise DecodeError(f"the property {name[:100]!r} occurs twice")
            values[name] = text_of(entry).strip()
    if _BACKUP in values and _PRIMARY not in values:
        raise DecodeError("a backup Registrar is named, but no primary")
    return InbandProvisioning(
        registrars=tuple(
            read_server_uri(values[name]) for name in (_PRIMARY, _BACKUP) if values.get(name)
        ),
        web_services=_read_url(values[_WEB_SERVICES]) if values.get(_WEB_SERVICES) else None,
    )


def _read_url(text: str) -> ServiceUrl:
    match = _URL.fullmatch(text)
    if match is None:
        raise DecodeError(f"{text[:100]!r} is no http or https URL with a path")
    scheme, host, port, path = match.groups()
    number = _STANDARD_PORTS[scheme.lower()] if port is None else int(port)
    if not 1 <= number <= 65535:
        raise DecodeError(f"{text[:100]!r} has port {number}")
    return ServiceUrl(scheme=scheme.lower(), host=host.lower(), port=number, path=path)
