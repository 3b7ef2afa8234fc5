"""What no phone could live by is refused where it is written, not when a phone trips over it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from phonesim.config.device_profile import (
    ClockConfig,
    DhcpClientConfig,
    DiscoveryConfig,
    FallbackName,
    RegistrationConfig,
    ResolverConfig,
    SrvName,
)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (DhcpClientConfig, "retransmit_delays", ()),
        (DhcpClientConfig, "retransmit_delays", (4, -1)),
        (DhcpClientConfig, "reboot_attempts", 0),
        (DhcpClientConfig, "auto_ip_candidates", 0),
        (DhcpClientConfig, "parameter_request_list", (255,)),
        (ResolverConfig, "attempt_timeouts", ()),
        (ClockConfig, "attempt_timeouts", ()),
        (DiscoveryConfig, "inform_delays", ()),
        (DiscoveryConfig, "maximum_registrars", 0),
        (RegistrationConfig, "reconnect_delays", ()),
        (RegistrationConfig, "keep_alive_interval", 0),
        (RegistrationConfig, "expires", 0),
    ],
)
def test_a_value_that_no_phone_could_live_by_is_refused(config, field, value):
    with pytest.raises(ValidationError) as refused:
        config(**{field: value})
    assert refused.value.errors()[0]["loc"][0] == field


@pytest.mark.parametrize("qname", ["sip", "sip.{site}", "sip.{domain}.{domain}", "sip.{domain", ""])
def test_a_name_to_ask_for_holds_its_domain_once(qname):
    with pytest.raises(ValidationError):
        SrvName(qname=qname, transport="tls")
    with pytest.raises(ValidationError):
        FallbackName(qname=qname, port=5061)
    assert SrvName(qname="_sip._tls.{domain}", transport="tls")
    assert FallbackName(qname="{domain}", port=5060)
