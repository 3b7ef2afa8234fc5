from __future__ import annotations

import pytest

from phonesim.device import device_log as log
from phonesim.device.actions import SendDhcp
from phonesim.device.dhcp_messages import DhcpWriter
from phonesim.device.dhcp_states import Transmission
from phonesim.device.events import Lease
from phonesim.wire.dhcp import BROADCAST, BROADCAST_FLAG, MessageType, encode_addresses

MAC = bytes.fromhex("0004F2000001")
ADDRESS, SERVER = "10.0.0.50", "10.0.0.1"
XID = 7
LEASE = Lease(
    address=ADDRESS,
    subnet_mask="255.255.0.0",
    server=SERVER,
    t1_at=1800.0,
    t2_at=3150.0,
    expires_at=3600.0,
)
NAMED = {53: None, 61: b"\x01" + MAC}
ASKING = NAMED | {60: b"CPE-OCPHONE", 55: bytes((1, 3))}
AT, OF = encode_addresses((ADDRESS,)), encode_addresses((SERVER,))


def writer(vendor_class="CPE-OCPHONE", parameters=(1, 3), **more):
    return DhcpWriter(MAC, vendor_class, parameters, **more)


def sent(secs=0, attempt=1):
    return Transmission(xid=XID, started_at=0.0, attempt=attempt, retransmit_at=4.0, secs=secs)


def message(outputs):
    (action,) = [each for each in outputs if isinstance(each, SendDhcp)]
    return action.message


@pytest.mark.parametrize(
    ("write", "kind", "source", "destination", "options"),
    [
        (lambda it: it.discover(sent()), MessageType.DISCOVER, "0.0.0.0", BROADCAST, ASKING),
        (
            lambda it: it.request(sent(), requested=ADDRESS, server=SERVER),
            MessageType.REQUEST,
            "0.0.0.0",
            BROADCAST,
            ASKING | {50: AT, 54: OF},
        ),
        (
            lambda it: it.request(sent(), requested=ADDRESS),
            MessageType.REQUEST,
            "0.0.0.0",
            BROADCAST,
            ASKING | {50: AT},
        ),
        (
            lambda it: it.request(sent(), lease=LEASE, destination=SERVER),
            MessageType.REQUEST,
            ADDRESS,
            SERVER,
            ASKING,
        ),
        (lambda it: it.inform(XID, ADDRESS, 1), MessageType.INFORM, ADDRESS, BROADCAST, ASKING),
        (
            lambda it: it.release(XID, LEASE),
            MessageType.RELEASE,
            ADDRESS,
            SERVER,
            NAMED | {54: OF},
        ),
        (
            lambda it: it.decline(XID, LEASE),
            MessageType.DECLINE,
            "0.0.0.0",
            BROADCAST,
            NAMED | {50: AT, 54: OF},
        ),
    ],
    ids=["discover", "selecting", "init-reboot", "renewing", "inform", "release", "decline"],
)
def test_each_message_carries_what_the_standard_asks_for(write, kind, source, destination, options):
    record, action = write(writer())
    expected = list((options | {53: bytes((kind,))}).items())
    assert list(action.message.options.items()) == expected
    assert action.message.message_type is kind
    assert (action.message.xid, action.message.chaddr) == (XID, MAC)
    assert (action.source, action.message.ciaddr) == (source, source)
    assert action.destination == destination
    asks = 55 in options
    assert record == log.DHCP_SENT(
        kind.name,
        XID,
        0,
        source,
        destination,
        "CPE-OCPHONE" if asks else "",
        "1,3" if asks else "",
        1,
    )


def test_a_host_name_goes_before_the_class_and_the_mac_may_be_kept_back():
    its = writer(host_name="CX600-1", sends_client_identifier=False)
    assert list(message(its.discover(sent())).options) == [53, 12, 60, 55]
    assert list(message(its.release(XID, LEASE)).options) == [53, 54]


@pytest.mark.parametrize(
    ("secs", "field"), [("elapsed", 268), ("byte-swapped", 12 << 8 | 1), ("zero", 0)]
)
def test_secs_is_written_in_one_of_three_ways(secs, field):
    its = writer(secs=secs)
    assert message(its.discover(sent(268))).secs == field
    assert message(its.request(sent(268), requested=ADDRESS)).secs == field


def test_a_phone_with_an_address_does_not_ask_for_broadcast():
    its = writer(broadcast_flag=True)
    assert message(its.request(sent(), requested=ADDRESS)).flags == BROADCAST_FLAG
    assert message(its.request(sent(), lease=LEASE)).flags == 0
    assert message(its.inform(XID, ADDRESS, 1)).flags == 0


def test_a_record_says_which_attempt_it_was():
    for outputs in (writer().discover(sent(attempt=3)), writer().inform(XID, ADDRESS, 3)):
        assert outputs[0].values[-1] == 3
