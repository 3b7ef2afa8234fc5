"""A capture by tcpdump of phones that fail at a real server, and the site that is learned of it."""

from __future__ import annotations

import pytest
from netlab import NO_SWITCH, OPTION_43, Lab
from real_servers import start_dnsmasq, start_mock_site

from phonesim.config.fault import SetDhcpOption
from phonesim.field.learning.rerun import relive_capture
from phonesim.profiles import FAULT, load

Users = tuple[str, str]
PHONES = 3
PORT_AS_NUMBER = OPTION_43.replace(b"\x04\x03443", b"\x04\x02\x01\xbb")
WITHOUT_NAME = OPTION_43[: OPTION_43.index(b"webpool") - 1]


@pytest.mark.interop("dnsmasq", "nft", "tcpdump")
@pytest.mark.parametrize(
    "option_43", [PORT_AS_NUMBER, WITHOUT_NAME], ids=["numeric port", "cut off"]
)
def test_the_same_phones_fail_in_the_same_way(lab: Lab, users: Users, option_43: bytes) -> None:
    start_dnsmasq(lab, serves_dns=True, option_43=option_43, has_registrar_names=False)
    start_mock_site(lab)
    capture = lab.capture("field")
    arguments = ("--phones", str(PHONES), *NO_SWITCH, *users)
    status, summary, told = lab.run_fleet(*arguments)
    assert status == 3, told
    assert summary["failures"] == {"web-services-not-located": PHONES}
    lab.stop("field")

    case = relive_capture(capture, lab.folder / "learned")
    assert set(case.compared) == set(lab.device_logs())
    assert case.is_same, case.compared
    rules = load(FAULT, str(lab.folder / "learned/faults.yaml")).rules
    set_options = {rule.option: rule.value for rule in rules if isinstance(rule, SetDhcpOption)}
    assert bytes.fromhex(set_options[43]) == option_43
    again = [path.read_text() for path in case.run.glob("*/DSK1/logs/cpsw3g.log")]
    failed = [text for text in again if "failed at discovery, web-services-not-located" in text]
    assert len(failed) == len(again) == PHONES
