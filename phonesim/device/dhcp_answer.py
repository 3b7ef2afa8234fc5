"""What one DHCP answer says of the Web Services and the Registrar: options 43 and 120.

Specifications: RFC 3361 (option 120), device reference sections 1, 2 and 3.
"""

from __future__ import annotations

import msgspec

from phonesim.config.device_profile import DiscoveryConfig
from phonesim.device import device_log as log
from phonesim.device.device_log import LogRecord
from phonesim.device.events import RegistrarAddress, WebServicesAddress
from phonesim.wire.dhcp import DhcpMessage, Option
from phonesim.wire.provisioning import decode_sip_servers, decode_uc_options


class DhcpAnswer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one answer to the INFORM says."""

    server: str
    web_services: WebServicesAddress | None
    registrars: tuple[RegistrarAddress, ...]

    @property
    def has_fqdn(self) -> bool:
        """Whether the answer can win."""
        return self.web_services is not None or bool(self.registrars)


def read_dhcp_answer(
    message: DhcpMessage, server: str, config: DiscoveryConfig
) -> tuple[DhcpAnswer, list[LogRecord]]:
    """What a message from `server` says, and the records of its options."""
    source = f"dhcp:{server}"
    records: list[LogRecord] = []
    web_services = None
    option_43 = message.options.get(Option.VENDOR_SPECIFIC_INFORMATION)
    if option_43 is None:
        records.append(log.OPTION_MISSING(server, 43))
    else:
        web_services = _read_option_43(option_43, server, source, config, records)
    registrars: tuple[RegistrarAddress, ...] = ()
    option_120 = message.options.get(Option.SIP_SERVERS)
    if option_120 is None:
        records.append(log.OPTION_MISSING(server, 120))
    else:
        registrars = _read_option_120(option_120, server, source, config, records)
    answer = DhcpAnswer(server=server, web_services=web_services, registrars=registrars)
    return answer, records


def _read_option_43(
    data: bytes, server: str, source: str, config: DiscoveryConfig, records: list[LogRecord]
) -> WebServicesAddress | None:
    options = decode_uc_options(data)
    warnings = list(options.warnings)
    address = None
    # Its own name in sub-option 1 shows that the option is meant for this class [inferred].
    if options.uc_identifier != config.inform_class:
        given = options.uc_identifier
        fault = f"{given!r}, not {config.inform_class!r}: "
        if given is None:
            fault = f'missing: it shall hold "{config.inform_class}"; '
        warnings.append(f"sub-option 1 is {fault}option not used")
    elif (
        options.url_scheme is None
        or options.web_server_fqdn is None
        or options.web_server_port is None
        or options.cert_prov_rel_path is None
    ):
        warnings.append("no URL can be built from it: option not used")
    else:
        address = WebServicesAddress(
            scheme=options.url_scheme,
            host=options.web_server_fqdn,
            port=options.web_server_port,
            path=options.cert_prov_rel_path,
            source=source,
        )
    url = "" if address is None else address.url
    records.append(log.OPTION_43(server, data.hex(), url, options.uc_identifier or ""))
    records.extend(log.OPTION_WARNING(server, 43, warning) for warning in warnings)
    return address


def _read_option_120(
    data: bytes, server: str, source: str, config: DiscoveryConfig, records: list[LogRecord]
) -> tuple[RegistrarAddress, ...]:
    servers = decode_sip_servers(data)
    warnings = list(servers.warnings)
    names = servers.names
    if names and data[:1] != b"\0":
        is_used = config.accepts_raw_names
        warnings[0] += ": used all the same" if is_used else ": option not used"
        names = names if is_used else ()
    if servers.addresses:
        warnings.append("addresses are of no use: TLS needs a name")
    if len(names) > config.maximum_registrars:
        warnings.append(f"only the first {config.maximum_registrars} names are used")
        names = names[: config.maximum_registrars]
    records.append(log.OPTION_120(server, data.hex(), "+".join(names)))
    records.extend(log.OPTION_WARNING(server, 120, warning) for warning in warnings)
    return tuple(
        RegistrarAddress(host=name, port=config.registrar_port, transport="tls", source=source)
        for name in names
    )
