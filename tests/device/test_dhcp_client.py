from __future__ import annotations

import random

import msgspec
import pytest
from playing import Dice, containing, like, matching, play

from phonesim.config.device_profile import DhcpClientConfig
from phonesim.device import device_log as log
from phonesim.device.actions import (
    AnnounceAddress,
    ConfigureAddress,
    ProbeAddress,
    RemoveAddress,
    SendDhcp,
)
from phonesim.device.device_log import LogRecord
from phonesim.device.dhcp_client import DhcpClient
from phonesim.device.dhcp_states import Bound, Init, Selecting
from phonesim.device.events import (
    AddressClaimed,
    AddressProbed,
    AddressUnwanted,
    AddressWanted,
    AttemptEnded,
    DhcpMessageReceived,
    ExchangeEnded,
    LeaseBound,
    LeaseFailed,
    LeaseLost,
    ShutdownRequested,
    TimerExpired,
)
from phonesim.wire.dhcp import (
    BOOTREPLY,
    BROADCAST,
    BROADCAST_FLAG,
    DhcpMessage,
    MessageType,
    Option,
    encode_addresses,
    encode_dhcp,
    encode_u32,
)

MAC = bytes.fromhex("0004F2000001")
SERVER, OTHER = "10.0.0.1", "10.0.0.2"
ADDRESS = "10.0.0.50"
ASKS = bytes((1, 3, 6, 15, 42, 43, 44, 46, 47, 119))
TIMER = TimerExpired()
WANTED = AddressWanted()


def client(rng=None, **config):
    return DhcpClient(DhcpClientConfig(**config), MAC, rng or Dice())


def reply(
    message_type, xid=1, *, server=SERVER, address=ADDRESS, lease=3600, source=None, options=None
):
    own = {Option.DHCP_MESSAGE_TYPE: bytes((message_type,))}
    if server is not None:
        own[Option.SERVER_IDENTIFIER] = encode_addresses((server,))
    if lease is not None and message_type is not MessageType.NAK:
        own[Option.IP_ADDRESS_LEASE_TIME] = encode_u32(lease)
        own[Option.SUBNET_MASK] = encode_addresses(("255.255.0.0",))
    message = DhcpMessage(
        message_type=message_type,
        op=BOOTREPLY,
        xid=xid,
        chaddr=MAC,
        yiaddr="0.0.0.0" if message_type is MessageType.NAK else address,
        options=own | (options or {}),
    )
    return DhcpMessageReceived(message=message, source=source or server or SERVER)


def offer(xid=1, **more):
    return reply(MessageType.OFFER, xid, **more)


def ack(xid=1, **more):
    return reply(MessageType.ACK, xid, **more)


def nak(xid=1, **more):
    return reply(MessageType.NAK, xid, **more)


def sends(
    message_type, xid=1, *, secs=0, ciaddr="0.0.0.0", to=BROADCAST, requested=None, server=None
):
    """A SendDhcp with exactly the options that the phone gives this message."""
    options = {53: bytes((message_type,)), 61: b"\x01" + MAC}
    if message_type in (MessageType.DISCOVER, MessageType.REQUEST):
        options |= {60: b"CPE-OCPHONE", 55: ASKS}
    if requested is not None:
        options[50] = encode_addresses((requested,))
    if server is not None:
        options[54] = encode_addresses((server,))
    message = DhcpMessage(
        message_type=message_type, xid=xid, secs=secs, ciaddr=ciaddr, chaddr=MAC, options=options
    )
    return SendDhcp(message=message, source=ciaddr, destination=to)


def discover(xid=1, secs=0):
    return sends(MessageType.DISCOVER, xid, secs=secs)


def request(xid=1, secs=0, **more):
    return sends(MessageType.REQUEST, xid, secs=secs, **more)


def again(sent):
    """A request that is repeated: the one before it had no answer."""
    return [sent, AttemptEnded(kind=f"dhcp_{sent.message.message_type.name.lower()}")]


def ended(kind, sent, seconds, **more):
    return like(ExchangeEnded, kind=kind, sent=sent, seconds=seconds, **more)


def free(address=ADDRESS):
    return AddressProbed(address=address)


def used(address=ADDRESS):
    return AddressProbed(address=address, conflict="02-00-00-00-00-99")


def configured(address=ADDRESS):
    return ConfigureAddress(address=address, subnet_mask="255.255.0.0")


def bound(*, is_renewal=False, **lease):
    return like(LeaseBound, lease=LikeLease(lease), is_renewal=is_renewal)


class LikeLease:
    def __init__(self, fields):
        self.fields = fields

    def __eq__(self, other):
        return all(getattr(other, name) == value for name, value in self.fields.items())

    __hash__ = None

    def __repr__(self):
        return f"a lease with {self.fields}"


def state(old, new):
    return log.DHCP_STATE(old, new)


def bind(machine, *, lease=3600, options=None, at=0.0):
    """Take the machine to BOUND by the shortest way."""
    for event in (
        WANTED,
        offer(lease=lease, options=options),
        ack(lease=lease, options=options),
        free(),
    ):
        machine.handle(event, at)


def told(machine, event, now):
    """The log records of handling one event."""
    return [item for item in machine.handle(event, now) if isinstance(item, LogRecord)]


def test_dora_goes_through_the_states_of_the_standard():
    play(
        client(),
        [
            (
                0.0,
                WANTED,
                [state("STOPPED", "INIT"), state("INIT", "SELECTING"), discover()],
            ),
            (0.0, None, [(4.0, "retransmit DISCOVER")]),
            (
                1.0,
                offer(),
                [
                    matching(log.DHCP_RECEIVED, type="OFFER", server=SERVER, yiaddr=ADDRESS),
                    state("SELECTING", "REQUESTING"),
                    ended("dhcp_discover", 1, 1.0, server=SERVER, answer="OFFER"),
                    request(requested=ADDRESS, server=SERVER),
                ],
            ),
            (1.0, None, [(5.0, "retransmit REQUEST")]),
            (
                1.5,
                ack(),
                [
                    ended("dhcp_request", 1, 0.5, server=SERVER, answer="ACK"),
                    ProbeAddress(address=ADDRESS),
                ],
            ),
            (1.5, None, []),
            (
                1.7,
                free(),
                [
                    state("REQUESTING", "BOUND"),
                    configured(),
                    bound(
                        address=ADDRESS,
                        server=SERVER,
                        t1_at=1.0 + 1800,
                        t2_at=1.0 + 3150,
                        expires_at=1.0 + 3600,
                    ),
                ],
            ),
            (1.7, None, [(1801.0, "T1")]),
        ],
    )


def test_every_state_bears_the_standard_s_name():
    machine = client(auto_ip=False)
    names = []

    def give(event, now):
        for record in told(machine, event, now):
            if record.name == "dhcp_state":
                names.append(record.values[1])

    give(AddressWanted(cached_address=ADDRESS), 0.0)
    give(nak(1), 1.0)
    give(offer(2), 1.0)
    give(ack(2), 1.0)
    give(free(), 1.0)
    give(TIMER, 1801.0)
    give(TIMER, 3151.0)
    assert names == [
        "INIT-REBOOT",
        "REBOOTING",
        "INIT",
        "SELECTING",
        "REQUESTING",
        "BOUND",
        "RENEWING",
        "REBINDING",
    ]


def test_discover_backs_off_and_secs_rises():
    play(
        client(auto_ip=False),
        [
            (0.0, WANTED, [discover()]),
            (4.0, TIMER, again(discover(secs=4))),
            (4.0, None, [(12.0, "retransmit DISCOVER")]),
            (12.0, TIMER, again(discover(secs=12))),
            (28.0, TIMER, again(discover(secs=28))),
            (60.0, TIMER, again(discover(secs=60))),
            (60.0, None, [(124.0, "retransmit DISCOVER")]),
            (
                124.0,
                TIMER,
                [
                    log.DHCP_NO_ANSWER("DISCOVER", 5),
                    state("SELECTING", "INIT"),
                    ended("dhcp_discover", 5, None),
                    LeaseFailed(auto_ip=None),
                ],
            ),
        ],
    )


@pytest.mark.parametrize("seed", range(20))
def test_each_delay_is_moved_by_up_to_a_second_either_way(seed):
    machine = client(random.Random(seed))
    machine.handle(WANTED, 0.0)
    at, delays = 0.0, []
    for _ in range(4):
        due = machine.next_deadline()[0]
        delays.append(due - at)
        at = due
        machine.handle(TIMER, at)
    delays.append(machine.next_deadline()[0] - at)
    assert all(
        abs(delay - base) <= 1 for delay, base in zip(delays, (4, 8, 16, 32, 64), strict=True)
    )
    assert len({delay % 1 for delay in delays}) == 5


@pytest.mark.parametrize(
    "events",
    [
        [WANTED],
        [WANTED, offer()],
        [AddressWanted(cached_address=ADDRESS)],
        [WANTED, offer(), ack(), free()],
        [WANTED, offer(), ack(), free(), (1800.0, TIMER)],
        [WANTED, offer(), ack(), free(), (1800.0, TIMER), (3150.0, TIMER)],
        [WANTED, offer(), ack(), used()],
    ],
    ids=["SELECTING", "REQUESTING", "REBOOTING", "BOUND", "RENEWING", "REBINDING", "INIT"],
)
def test_a_timer_that_comes_early_does_nothing_in_any_state(events):
    machine = client()
    for event in events:
        now, event = event if isinstance(event, tuple) else (0.0, event)
        machine.handle(event, now)
    due = machine.next_deadline()
    play(machine, [(due[0] - 0.1, TIMER, []), (due[0] - 0.1, None, [due])])


def test_the_first_offer_is_taken_and_the_second_ignored():
    play(
        client(),
        [
            (0.0, WANTED, [discover()]),
            (
                0.1,
                offer(),
                [ended("dhcp_discover", 1, 0.1), request(requested=ADDRESS, server=SERVER)],
            ),
            (
                0.2,
                offer(server=OTHER, address="10.0.0.77"),
                [
                    matching(
                        log.DHCP_IGNORED,
                        type="OFFER",
                        source=OTHER,
                        detail="not expected in REQUESTING",
                    )
                ],
            ),
            (4.1, TIMER, again(request(requested=ADDRESS, server=SERVER))),
        ],
    )


def test_an_answer_counts_the_packets_that_it_took():
    play(
        client(),
        [
            (0.0, WANTED, [discover()]),
            (4.0, TIMER, again(discover(secs=4))),
            (
                4.5,
                offer(),
                # RFC 2131 section 3.1 step 3: the secs of the DISCOVER, however often sent.
                [ended("dhcp_discover", 2, 4.5), request(secs=4, requested=ADDRESS, server=SERVER)],
            ),
            (8.5, TIMER, again(request(secs=4, requested=ADDRESS, server=SERVER))),
            (9.5, ack(), [ended("dhcp_request", 2, 5.0), ProbeAddress(address=ADDRESS)]),
            # RFC 2131 section 4.4.1: the lease begins when the first REQUEST was sent.
            (9.7, free(), [configured(), bound(expires_at=4.5 + 3600)]),
        ],
    )


def test_a_request_that_nobody_answers_begins_anew():
    play(
        client(retransmit_delays=(4, 8)),
        [
            (0.0, WANTED, [discover()]),
            (
                0.0,
                offer(),
                [ended("dhcp_discover", 1, 0.0), request(requested=ADDRESS, server=SERVER)],
            ),
            (4.0, TIMER, again(request(requested=ADDRESS, server=SERVER))),
            (
                12.0,
                TIMER,
                [
                    log.DHCP_NO_ANSWER("REQUEST", 2),
                    state("REQUESTING", "INIT"),
                    state("INIT", "SELECTING"),
                    ended("dhcp_request", 2, None),
                    discover(2),
                ],
            ),
        ],
    )


def test_an_unknown_xid_and_an_unexpected_type_are_dropped_with_a_record():
    play(
        client(),
        [
            (
                0.0,
                offer(xid=9),
                [matching(log.DHCP_IGNORED, xid=9, detail="no request with this xid is open")],
            ),
            (0.0, WANTED, [discover()]),
            (0.1, offer(xid=9), [matching(log.DHCP_IGNORED, type="OFFER", xid=9)]),
            (0.2, ack(), [matching(log.DHCP_IGNORED, type="ACK", detail=containing("SELECTING"))]),
            (0.3, nak(), [matching(log.DHCP_IGNORED, type="NAK", detail=containing("SELECTING"))]),
            (4.0, TIMER, again(discover(secs=4))),
        ],
    )


def test_an_offer_without_an_address_is_dropped():
    play(
        client(),
        [
            (0.0, WANTED, [discover()]),
            (
                0.1,
                offer(address="0.0.0.0"),
                [matching(log.DHCP_IGNORED, detail="OFFER without an address")],
            ),
            (0.2, offer(), [ended("dhcp_discover", 1, 0.2), like(SendDhcp)]),
        ],
    )


def test_an_offer_without_server_identifier_comes_from_its_sender():
    play(
        client(),
        [
            (0.0, WANTED, [discover()]),
            (
                0.0,
                offer(server=None, source=OTHER),
                [ended("dhcp_discover", 1, 0.0), request(requested=ADDRESS, server=OTHER)],
            ),
        ],
    )


def test_a_server_identifier_that_is_no_address_is_dropped_with_a_record():
    broken = {Option.SERVER_IDENTIFIER: b"\x0a\x00"}
    two = {Option.SERVER_IDENTIFIER: encode_addresses((SERVER, OTHER))}
    play(
        client(),
        [
            (0.0, WANTED, [discover()]),
            (
                0.1,
                offer(options=broken),
                [matching(log.DHCP_IGNORED, detail=containing("2 octets"))],
            ),
            (0.2, offer(options=two), [matching(log.DHCP_IGNORED, detail=containing("8 octets"))]),
            (0.3, offer(), [ended("dhcp_discover", 1, 0.3), like(SendDhcp)]),
        ],
    )


# --- NAK ---------------------------------------------------------------------


def test_nak_while_requesting_begins_anew():
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(offer(), 0.0)
    play(
        machine,
        [
            (
                0.5,
                nak(),
                [
                    state("REQUESTING", "INIT"),
                    state("INIT", "SELECTING"),
                    ended("dhcp_request", 1, 0.5, server=SERVER, answer="NAK"),
                    discover(2),
                ],
            )
        ],
    )


def refuse(machine, now):
    """Offer an address, and refuse it."""
    xid = machine.state.sent.xid
    machine.handle(offer(xid), now)
    return machine.handle(nak(xid), now)


def test_offers_that_are_all_refused_are_asked_for_ever_later():
    machine = client(retransmit_delays=(4, 8), retransmit_jitter=0, auto_ip=False)
    machine.handle(WANTED, 0.0)
    assert discover(2) in refuse(machine, 0.0)  # the first time at once
    refuse(machine, 0.0)
    assert machine.next_deadline() == (4.0, "discover")
    machine.handle(TIMER, 4.0)
    assert machine.state.name == "SELECTING"
    failed = refuse(machine, 4.0)
    assert failed[-1] == LeaseFailed(auto_ip=None, detail="DHCP servers refuse what they offer")
    assert machine.next_deadline() == (304.0, "discover")  # as when none answers


def test_a_lease_makes_refusals_forgotten():
    machine = client(retransmit_delays=(4, 8), retransmit_jitter=0)
    machine.handle(WANTED, 0.0)
    refuse(machine, 0.0)
    xid = machine.state.sent.xid
    for event in (offer(xid), ack(xid), free()):
        machine.handle(event, 0.0)
    assert machine.state.name == "BOUND"
    machine.handle(TIMER, 1800.0)
    machine.handle(nak(machine.state.sent.xid), 1800.0)
    refuse(machine, 1800.0)
    assert machine.state.name == "SELECTING"  # at once, as the first time


def test_nak_while_rebooting_begins_anew():
    play(
        client(),
        [
            (0.0, AddressWanted(cached_address=ADDRESS), [request(requested=ADDRESS)]),
            (
                0.5,
                nak(),
                [state("REBOOTING", "INIT"), ended("dhcp_request", 1, 0.5), discover(2)],
            ),
        ],
    )


@pytest.mark.parametrize(("at", "name"), [((1800.0,), "RENEWING"), ((1800.0, 3150.0), "REBINDING")])
def test_nak_while_renewing_or_rebinding_loses_the_lease(at, name):
    machine = client()
    bind(machine)
    for now in at:
        machine.handle(TIMER, now)
    xid = machine.state.sent.xid
    play(
        machine,
        [
            (
                at[-1] + 1,
                nak(xid),
                [
                    log.LEASE_LOST(ADDRESS, f"NAK from {SERVER}"),
                    state(name, "INIT"),
                    ended("dhcp_request", 1, 1.0),
                    RemoveAddress(address=ADDRESS),
                    LeaseLost(address=ADDRESS, detail=f"NAK from {SERVER}"),
                    discover(xid + 1),
                ],
            )
        ],
    )


@pytest.mark.parametrize(
    "events", [[], [WANTED], [WANTED, offer(), ack()], [WANTED, offer(), ack(), free()]]
)
def test_nak_elsewhere_is_ignored(events):
    machine = client()
    for event in events:
        machine.handle(event, 0.0)
    before = machine.state
    play(machine, [(0.1, nak(), [matching(log.DHCP_IGNORED, type="NAK")])])
    assert machine.state == before


@pytest.mark.parametrize("answer", [ack, nak])
def test_only_the_server_that_was_asked_may_answer_the_request(answer):
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(offer(), 0.0)
    ignored = matching(log.DHCP_IGNORED, detail=f"from {OTHER}, but {SERVER} was asked")
    play(
        machine,
        [
            (0.1, answer(server=OTHER), [ignored]),
            # Without server identifier it may be anybody's: a relay's address says nothing.
            (
                0.2,
                ack(server=None, source=OTHER),
                [ended("dhcp_request", 1, 0.2), ProbeAddress(address=ADDRESS)],
            ),
        ],
    )


# --- the probe ---------------------------------------------------------------


def test_a_conflict_is_declined_and_ten_seconds_later_the_client_begins_anew():
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(offer(), 0.0)
    play(
        machine,
        [
            (0.0, ack(), [ended("dhcp_request", 1, 0.0), ProbeAddress(address=ADDRESS)]),
            (
                0.2,
                used(),
                [
                    log.ADDRESS_CONFLICT(ADDRESS, "02-00-00-00-00-99"),
                    log.DHCP_SENT("DECLINE", 2, 0, "0.0.0.0", BROADCAST, "", "", 1),
                    state("REQUESTING", "INIT"),
                    # RFC 2131 table 5: ciaddr 0, the address and the server as options.
                    sends(MessageType.DECLINE, 2, requested=ADDRESS, server=SERVER),
                ],
            ),
            (0.2, None, [(10.2, "discover")]),
            (9.0, TIMER, []),
            (10.2, TIMER, [state("INIT", "SELECTING"), discover(3)]),
        ],
    )


def test_a_conflict_at_an_address_without_server_identifier_is_declined_to_its_sender():
    machine = client()
    machine.handle(AddressWanted(cached_address=ADDRESS), 0.0)
    machine.handle(ack(server=None, source=OTHER), 0.0)
    play(
        machine,
        [(0.2, used(), [sends(MessageType.DECLINE, 2, requested=ADDRESS, server=OTHER)])],
    )


def test_the_probe_of_another_address_changes_nothing():
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(offer(), 0.0)
    machine.handle(ack(), 0.0)
    play(machine, [(0.2, free("10.0.0.99"), []), (0.2, used("10.0.0.99"), [])])


def test_while_the_address_is_probed_a_second_ack_is_ignored():
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(offer(), 0.0)
    machine.handle(ack(), 0.0)
    play(
        machine,
        [
            (0.1, ack(), [matching(log.DHCP_IGNORED, type="ACK")]),
            (0.2, free(), [configured(), bound(address=ADDRESS)]),
        ],
    )


# --- another host claims the address -----------------------------------------


STRANGER = "02-00-00-00-00-99"
ANNOUNCED = AnnounceAddress(address=ADDRESS)


def claimed(address=ADDRESS):
    return AddressClaimed(address=address, mac=STRANGER)


def given_up(xid, name="BOUND"):
    """What is put out when a lease is given up for a conflict."""
    detail = f"conflict with {STRANGER}"
    return [
        log.ADDRESS_CONFLICT(ADDRESS, STRANGER),
        state(name, "INIT"),
        log.LEASE_LOST(ADDRESS, detail),
        sends(MessageType.DECLINE, xid, requested=ADDRESS, server=SERVER),
        RemoveAddress(address=ADDRESS),
        LeaseLost(address=ADDRESS, detail=detail),
    ]


def test_an_address_is_defended_once_and_given_up_on_the_next_claim():
    machine = client()
    bind(machine)
    play(
        machine,
        [
            (
                100.0,
                claimed(),
                [
                    log.ADDRESS_CONFLICT(ADDRESS, STRANGER),
                    log.ADDRESS_DEFENDED(ADDRESS),
                    ANNOUNCED,
                ],
            ),
            (110.0, claimed(), [ANNOUNCED]),
            (119.9, claimed(), given_up(2)),
            (119.9, None, [(129.9, "discover")]),
            (120.0, claimed(), []),
            (129.9, TIMER, [discover(3)]),
        ],
    )


def test_an_address_got_anew_is_defended_anew():
    machine = client()
    bind(machine)
    machine.handle(claimed(), 100.0)
    machine.handle(claimed(), 101.0)
    machine.handle(TIMER, 111.0)
    xid = machine.state.sent.xid
    for event in (offer(xid), ack(xid), free()):
        machine.handle(event, 111.0)
    play(machine, [(111.5, claimed(), [ANNOUNCED])])


def test_a_profile_may_always_defend():
    machine = client(address_defence="always", defend_interval=5)
    bind(machine)
    conflict = log.ADDRESS_CONFLICT(ADDRESS, STRANGER)
    play(
        machine,
        [
            (100.0, claimed(), [ANNOUNCED]),
            (104.9, claimed(), [conflict]),
            (105.0, claimed(), [ANNOUNCED]),
        ],
    )
    assert isinstance(machine.state, Bound)


@pytest.mark.parametrize(
    ("at", "name"),
    [((), "BOUND"), ((1800.0,), "RENEWING"), ((1800.0, 3150.0), "REBINDING")],
)
def test_a_profile_may_never_defend(at, name):
    machine = client(address_defence="never")
    bind(machine)
    for now in at:
        machine.handle(TIMER, now)
    play(machine, [(3200.0, claimed(), given_up(2 + len(at), name))])


def test_only_the_address_that_is_in_use_is_defended():
    machine = client()
    play(machine, [(0.0, claimed(), [])])
    bind(machine)
    play(machine, [(1.0, claimed("10.0.0.51"), [])])


def test_a_link_local_address_is_defended_and_then_changed():
    machine = client()
    now, outputs = fail(machine)
    (probe,) = [item for item in outputs if isinstance(item, ProbeAddress)]
    address = probe.address
    machine.handle(free(address), now)
    play(
        machine,
        [
            (now + 1, claimed(address), [AnnounceAddress(address=address)]),
            (
                now + 2,
                claimed(address),
                [RemoveAddress(address=address), like(ProbeAddress)],
            ),
        ],
    )


# --- INIT-REBOOT -------------------------------------------------------------


def old_lease(expires_at):
    """The lease from before the reboot, given at 0."""
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(offer(), 0.0)
    machine.handle(ack(), 0.0)
    (bound_,) = [item for item in machine.handle(free(), 0.0) if isinstance(item, LeaseBound)]
    return msgspec.structs.replace(bound_.lease, expires_at=expires_at)


def reboot_unanswered(expires_at, **config):
    """What comes when INIT-REBOOT was not answered by 128, and the machine."""
    machine = client(reboot_attempts=3, **config)
    wanted = AddressWanted(cached_address=ADDRESS, cached_lease=old_lease(expires_at))
    machine.handle(wanted, 100.0)
    machine.handle(TIMER, 104.0)
    machine.handle(TIMER, 112.0)
    return machine, machine.handle(TIMER, 128.0)


def test_without_an_answer_the_rest_of_the_old_lease_may_be_used():
    machine, outputs = reboot_unanswered(3600.0, reboot_keeps_lease=True)
    assert log.DHCP_NO_ANSWER("REQUEST", 3) in outputs
    assert log.LEASE_KEPT(ADDRESS, 3472.0) in outputs
    assert outputs[-1] == ProbeAddress(address=ADDRESS)
    play(
        machine,
        [
            (128.2, free(), [configured(), bound(address=ADDRESS, expires_at=3600.0)]),
            (128.2, None, [(1800.0, "T1")]),
        ],
    )


def test_the_old_lease_whose_address_is_taken_is_declined():
    machine, _ = reboot_unanswered(3600.0, reboot_keeps_lease=True)
    play(
        machine,
        [(128.2, used(), [sends(MessageType.DECLINE, 2, requested=ADDRESS, server=SERVER)])],
    )


@pytest.mark.parametrize(("expires_at", "keeps"), [(128.0, True), (3600.0, False)])
def test_an_old_lease_that_has_ended_or_may_not_be_used_is_not(expires_at, keeps):
    _, outputs = reboot_unanswered(expires_at, reboot_keeps_lease=keeps)
    assert outputs[-1] == discover(2)


def test_a_cached_address_is_asked_for_again():
    play(
        client(),
        [
            (
                0.0,
                AddressWanted(cached_address=ADDRESS),
                [
                    state("STOPPED", "INIT-REBOOT"),
                    state("INIT-REBOOT", "REBOOTING"),
                    # RFC 2131 table 5: the address as an option, no server, ciaddr 0.
                    request(requested=ADDRESS),
                ],
            ),
            (0.5, ack(), [ended("dhcp_request", 1, 0.5), ProbeAddress(address=ADDRESS)]),
            (0.7, free(), [state("REBOOTING", "BOUND"), configured(), bound(server=SERVER)]),
        ],
    )


def test_without_an_answer_to_init_reboot_the_client_begins_anew():
    play(
        client(),
        [
            (0.0, AddressWanted(cached_address=ADDRESS), [request(requested=ADDRESS)]),
            (4.0, TIMER, again(request(secs=4, requested=ADDRESS))),
            (12.0, TIMER, again(request(secs=12, requested=ADDRESS))),
            (
                28.0,
                TIMER,
                [
                    log.DHCP_NO_ANSWER("REQUEST", 3),
                    state("REBOOTING", "INIT"),
                    ended("dhcp_request", 3, None),
                    discover(2),
                ],
            ),
        ],
    )


def test_init_reboot_is_asked_no_more_often_than_there_are_delays():
    play(
        client(reboot_attempts=9, retransmit_delays=(4, 8)),
        [
            (0.0, AddressWanted(cached_address=ADDRESS), [request(requested=ADDRESS)]),
            (4.0, TIMER, again(request(secs=4, requested=ADDRESS))),
            (12.0, TIMER, [ended("dhcp_request", 2, None), discover(2)]),
        ],
    )


# --- T1, T2, expiry ----------------------------------------------------------


def test_at_t1_the_client_renews_by_broadcast_as_windows_ce_does():
    machine = client()
    bind(machine)
    play(
        machine,
        [
            (1799.0, TIMER, []),
            (
                1800.0,
                TIMER,
                # RFC 2131 table 5: ciaddr, neither address nor server as options.
                [state("BOUND", "RENEWING"), request(2, ciaddr=ADDRESS)],
            ),
            (
                1801.0,
                ack(2),
                [
                    state("RENEWING", "BOUND"),
                    ended("dhcp_request", 1, 1.0),
                    bound(is_renewal=True, t1_at=1800.0 + 1800, expires_at=1800.0 + 3600),
                ],
            ),
            (1801.0, None, [(3600.0, "T1")]),
        ],
    )


def test_with_direct_renewal_the_lease_s_server_is_asked_and_after_t2_everyone():
    machine = client(direct_renewal=True)
    bind(machine)
    play(
        machine,
        [
            (1800.0, TIMER, [request(2, ciaddr=ADDRESS, to=SERVER)]),
            (2475.0, TIMER, again(request(2, secs=675, ciaddr=ADDRESS, to=SERVER))),
            (
                3150.0,
                TIMER,
                [
                    state("RENEWING", "REBINDING"),
                    ended("dhcp_request", 2, None),
                    request(3, ciaddr=ADDRESS),
                ],
            ),
            (3375.0, TIMER, again(request(3, secs=225, ciaddr=ADDRESS))),
        ],
    )


def test_renewals_are_repeated_at_half_the_time_that_remains_and_at_least_a_minute():
    machine = client()
    bind(machine)
    play(
        machine,
        [
            (1800.0, TIMER, [request(2, ciaddr=ADDRESS)]),
            (1800.0, None, [(1800.0 + 675, "retransmit REQUEST")]),
            (2475.0, TIMER, again(request(2, secs=675, ciaddr=ADDRESS))),
            (2475.0, None, [(2475.0 + 337.5, "retransmit REQUEST")]),
            (2812.5, TIMER, again(request(2, secs=1012, ciaddr=ADDRESS))),
            (2981.25, TIMER, again(request(2, secs=1181, ciaddr=ADDRESS))),
            (2981.25, None, [(2981.25 + 84.375, "retransmit REQUEST")]),
            (3065.625, TIMER, again(request(2, secs=1265, ciaddr=ADDRESS))),
            (3065.625, None, [(3065.625 + 60, "retransmit REQUEST")]),
            (3125.625, TIMER, again(request(2, secs=1325, ciaddr=ADDRESS))),
            (3125.625, None, [(3150.0, "T2")]),
            (3150.0, TIMER, [ended("dhcp_request", 6, None), request(3, ciaddr=ADDRESS)]),
            (3150.0, None, [(3150.0 + 225, "retransmit REQUEST")]),
            (3375.0, TIMER, again(request(3, secs=225, ciaddr=ADDRESS))),
            (3487.5, TIMER, again(request(3, secs=337, ciaddr=ADDRESS))),
            (3547.5, TIMER, again(request(3, secs=397, ciaddr=ADDRESS))),
            (3547.5, None, [(3600.0, "expiry")]),
            (
                3600.0,
                TIMER,
                [
                    log.LEASE_LOST(ADDRESS, "expired"),
                    state("REBINDING", "INIT"),
                    ended("dhcp_request", 4, None),
                    RemoveAddress(address=ADDRESS),
                    LeaseLost(address=ADDRESS, detail="expired"),
                    discover(4),
                ],
            ),
        ],
    )


def test_any_server_may_extend_a_lease_that_is_rebound():
    machine = client()
    bind(machine)
    machine.handle(TIMER, 1800.0)
    machine.handle(TIMER, 3150.0)
    play(
        machine,
        [
            (
                3151.0,
                ack(3, server=OTHER),
                [
                    state("REBINDING", "BOUND"),
                    ended("dhcp_request", 1, 1.0),
                    bound(is_renewal=True, server=OTHER, expires_at=3150.0 + 3600),
                ],
            )
        ],
    )


def test_an_ack_for_another_address_ends_the_lease():
    machine = client()
    bind(machine)
    machine.handle(TIMER, 1800.0)
    play(
        machine,
        [
            (
                1801.0,
                ack(2, address="10.0.0.51"),
                [
                    ended("dhcp_request", 1, 1.0),
                    RemoveAddress(address=ADDRESS),
                    like(LeaseLost, detail=containing("10.0.0.51")),
                    discover(3),
                ],
            )
        ],
    )


def test_an_unusable_ack_of_a_renewal_leaves_the_lease():
    machine = client()
    bind(machine)
    machine.handle(TIMER, 1800.0)
    play(
        machine,
        [
            (
                1801.0,
                ack(2, lease=None),
                [matching(log.DHCP_IGNORED, detail=containing("lease time"))],
            ),
            (1802.0, ack(2), [ended("dhcp_request", 1, 2.0), bound(is_renewal=True)]),
        ],
    )


def test_an_infinite_lease_is_never_renewed():
    machine = client()
    bind(machine, lease=0xFFFFFFFF)
    assert machine.next_deadline() == (float("inf"), "T1")
    play(machine, [(1e9, TIMER, [])])


def test_secs_stays_within_its_field_however_long_a_renewal_lasts():
    machine = client()
    bind(machine, lease=30 * 86400)
    now = 0.0
    seen = []
    while now < 26 * 86400:
        now = machine.next_deadline()[0]
        for output in machine.handle(TIMER, now):
            if isinstance(output, SendDhcp):
                seen.append(output.message.secs)
                encode_dhcp(output.message)
    assert max(seen) == 0xFFFF


def granted(**options):
    """The lease that an ACK with these options gives, and its warnings."""
    codes = {Option[name]: value for name, value in options.items()}
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(offer(), 0.0)
    records = told(machine, ack(options=codes), 0.0)
    (lease,) = [item.lease for item in machine.handle(free(), 0.0) if isinstance(item, LeaseBound)]
    return lease, [record.values for record in records if record.name == "option_warning"]


def test_t1_and_t2_are_the_server_s():
    lease, warnings = granted(RENEWAL_TIME=encode_u32(100), REBINDING_TIME=encode_u32(200))
    assert (lease.t1_at, lease.t2_at, warnings) == (100, 200, [])


def test_each_of_t1_and_t2_counts_without_the_other():
    assert granted(RENEWAL_TIME=encode_u32(100))[0].t1_at == 100
    assert granted(REBINDING_TIME=encode_u32(2000))[0].t2_at == 2000


@pytest.mark.parametrize(
    ("t1", "t2"), [(200, 100), (200, 200), (100, 3600), (100, 0xFFFFFFFF), (3500, None)]
)
def test_t1_and_t2_out_of_order_are_not_used(t1, t2):
    options = {"RENEWAL_TIME": encode_u32(t1)}
    if t2 is not None:
        options["REBINDING_TIME"] = encode_u32(t2)
    lease, warnings = granted(**options)
    assert (lease.t1_at, lease.t2_at) == (1800, 3150)
    assert warnings == [(SERVER, 58, containing("out of order"))]


# --- what an ACK says --------------------------------------------------------


def test_a_lease_holds_what_the_ack_says():
    lease, warnings = granted(
        ROUTER=encode_addresses(("10.0.0.254",)),
        DOMAIN_NAME_SERVER=encode_addresses(("10.0.0.3", "10.0.0.4")),
        DOMAIN_NAME=b"Corp.Example.\0",
        DOMAIN_SEARCH=b"\x04Corp\x07example\0\x02eu\xc0\x05",
        NTP_SERVERS=encode_addresses(("10.0.0.5",)),
        TIME_SERVER=encode_addresses(("10.0.0.6",)),
    )
    assert warnings == []
    assert lease.routers == ("10.0.0.254",)
    assert lease.dns_servers == ("10.0.0.3", "10.0.0.4")
    assert lease.domain == "corp.example"
    assert lease.search_list == ("corp.example", "eu.example")
    assert lease.ntp_servers == ("10.0.0.5",)
    assert lease.time_servers == ("10.0.0.6",)
    assert lease.subnet_mask == "255.255.0.0"


@pytest.mark.parametrize(
    ("name", "value", "field", "left"),
    [
        ("SUBNET_MASK", b"\xff\xff", "subnet_mask", "255.255.255.0"),
        ("ROUTER", b"", "routers", ()),
        ("DOMAIN_NAME_SERVER", b"\x0a\0\0\x03\x0a", "dns_servers", ()),
        ("NTP_SERVERS", b"\x0a", "ntp_servers", ()),
        ("TIME_SERVER", b"\x0a\0", "time_servers", ()),
        ("RENEWAL_TIME", b"\x64", "t1_at", 1800),
        ("REBINDING_TIME", b"\0" * 8, "t2_at", 3150),
        ("DOMAIN_NAME", b"two words", "domain", None),
        ("DOMAIN_NAME", b"\xe9cole.example", "domain", None),
        ("DOMAIN_NAME", b"a..b", "domain", None),
        ("DOMAIN_NAME", b"x" * 64 + b".example", "domain", None),
        ("DOMAIN_NAME", b".".join([b"x" * 60] * 4), "domain", None),
        ("DOMAIN_NAME", b"line\nbreak", "domain", None),
        ("DOMAIN_SEARCH", b"\xc0\0", "search_list", ()),
        ("DOMAIN_SEARCH", b"\x03a b\0", "search_list", ()),
    ],
)
def test_an_option_that_cannot_be_read_is_reported_and_the_lease_kept(name, value, field, left):
    lease, warnings = granted(**{name: value})
    assert getattr(lease, field) == left
    assert warnings == [(SERVER, Option[name], containing("not used"))]


@pytest.mark.parametrize("value", [b"", b"\0", b"."])
def test_an_empty_domain_is_none(value):
    lease, warnings = granted(DOMAIN_NAME=value)
    assert (lease.domain, warnings) == (None, [])


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        (ack(lease=None), "ACK without a lease time"),
        (ack(lease=0), "ACK with a lease time of 0"),
        (ack(address="0.0.0.0"), "ACK without an address"),
        (ack(options={Option.IP_ADDRESS_LEASE_TIME: b"\1\2"}), containing("2 octets")),
    ],
)
def test_an_ack_that_grants_nothing_is_dropped_and_the_request_repeated(event, detail):
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(offer(), 0.0)
    play(
        machine,
        [
            (0.1, event, [matching(log.DHCP_IGNORED, type="ACK", detail=detail)]),
            (4.0, TIMER, again(request(requested=ADDRESS, server=SERVER))),
        ],
    )


# --- AutoIP ------------------------------------------------------------------


def fail(machine, at=0.0):
    """Let every DISCOVER go unanswered; the outputs of giving up."""
    machine.handle(WANTED, at)
    while isinstance(machine.state, Selecting):
        at = machine.next_deadline()[0]
        outputs = machine.handle(TIMER, at)
    return at, outputs


def test_without_a_server_the_client_takes_a_link_local_address_and_goes_on_looking():
    machine = client()
    now, outputs = fail(machine)
    (probe,) = [item for item in outputs if isinstance(item, ProbeAddress)]
    play(
        machine,
        [
            (now, None, [(now + 300, "discover")]),
            (
                now + 0.2,
                free(probe.address),
                [
                    log.AUTO_IP(probe.address, 299.8),
                    ConfigureAddress(address=probe.address, subnet_mask="255.255.0.0"),
                    LeaseFailed(auto_ip=probe.address),
                ],
            ),
            (now + 300, TIMER, [state("INIT", "SELECTING"), like(SendDhcp)]),
        ],
    )


def test_the_next_search_tries_ten_more():
    machine = client(random.Random(1))
    now, outputs = fail(machine)
    for _ in range(10):
        (probe,) = [item for item in outputs if isinstance(item, ProbeAddress)]
        outputs = machine.handle(used(probe.address), now)
    machine.handle(TIMER, now + 300)
    while isinstance(machine.state, Selecting):
        now = machine.next_deadline()[0]
        outputs = machine.handle(TIMER, now)
    for _ in range(9):
        (probe,) = [item for item in outputs if isinstance(item, ProbeAddress)]
        outputs = machine.handle(used(probe.address), now)
    (probe,) = [item for item in outputs if isinstance(item, ProbeAddress)]
    assert machine.handle(free(probe.address), now)[-1] == LeaseFailed(auto_ip=probe.address)


def test_the_probe_of_another_address_does_not_bring_auto_ip():
    machine = client()
    now, _ = fail(machine)
    play(machine, [(now, free("169.254.9.9"), []), (now, used("169.254.9.9"), [])])


def test_without_auto_ip_the_client_only_waits():
    machine = client(auto_ip=False)
    now, outputs = fail(machine)
    assert LeaseFailed(auto_ip=None) in outputs
    assert not [item for item in outputs if isinstance(item, ProbeAddress)]
    assert machine.state == Init(discover_at=now + 300)


def test_the_link_local_address_is_kept_while_no_server_answers():
    machine = client()
    now, outputs = fail(machine)
    (probe,) = [item for item in outputs if isinstance(item, ProbeAddress)]
    machine.handle(free(probe.address), now)
    at = now + 300
    machine.handle(TIMER, at)
    while isinstance(machine.state, Selecting):
        at = machine.next_deadline()[0]
        outputs = machine.handle(TIMER, at)
    assert LeaseFailed(auto_ip=probe.address) in outputs
    assert not [item for item in outputs if isinstance(item, ProbeAddress)]


def test_a_server_that_comes_back_ends_auto_ip():
    machine = client()
    now, outputs = fail(machine)
    (probe,) = [item for item in outputs if isinstance(item, ProbeAddress)]
    machine.handle(free(probe.address), now)
    machine.handle(TIMER, now + 300)
    xid = machine.state.sent.xid
    machine.handle(offer(xid), now + 300)
    play(
        machine,
        [
            (now + 300, ack(xid), [ended("dhcp_request", 1, 0.0), ProbeAddress(address=ADDRESS)]),
            (
                now + 301,
                free(),
                [RemoveAddress(address=probe.address), configured(), bound(address=ADDRESS)],
            ),
        ],
    )


# --- the end -----------------------------------------------------------------


def release(xid=2):
    return sends(MessageType.RELEASE, xid, ciaddr=ADDRESS, to=SERVER, server=SERVER)


@pytest.mark.parametrize("at", [(), (1800.0,), (1800.0, 3150.0)])
def test_shutdown_releases_the_lease_to_its_server(at):
    # A renewal in flight has had no answer.
    open_exchange = [ended("dhcp_request", 1, None)] if at else []
    machine = client()
    bind(machine)
    for now in at:
        machine.handle(TIMER, now)
    play(
        machine,
        [
            (
                3200.0,
                ShutdownRequested(),
                [
                    log.DHCP_SENT("RELEASE", 2 + len(at), 0, ADDRESS, SERVER, "", "", 1),
                    matching(log.DHCP_STATE, new="STOPPED"),
                    release(2 + len(at)),
                    RemoveAddress(address=ADDRESS),
                    *open_exchange,
                ],
            ),
            (3200.0, None, []),
        ],
    )


@pytest.mark.parametrize("event", [ShutdownRequested(), AddressUnwanted()])
@pytest.mark.parametrize("begin", [WANTED, AddressWanted(cached_address=ADDRESS)])
def test_a_lease_whose_address_is_still_probed_is_released_too(begin, event):
    machine = client()
    machine.handle(begin, 0.0)
    if begin is WANTED:
        machine.handle(offer(), 0.0)
    machine.handle(ack(), 0.0)
    play(machine, [(0.1, event, [release(), RemoveAddress(address=ADDRESS)])])


def test_without_a_lease_there_is_nothing_to_release():
    machine = client()
    machine.handle(WANTED, 0.0)
    unanswered = ended("dhcp_discover", 1, None)
    play(
        machine,
        [
            (0.0, ShutdownRequested(), [unanswered, state("SELECTING", "STOPPED")]),
            (0.0, None, []),
        ],
    )


def test_what_was_repeated_and_not_answered_is_known_when_the_phone_ends():
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(TIMER, 5.0)
    out = machine.handle(ShutdownRequested(), 6.0)
    assert [item for item in out if isinstance(item, ExchangeEnded)] == [
        ended("dhcp_discover", 2, None)
    ]
    machine = client()
    machine.handle(WANTED, 0.0)
    machine.handle(offer(), 1.0)
    out = machine.handle(ShutdownRequested(), 2.0)
    assert [item for item in out if isinstance(item, ExchangeEnded)] == [
        ended("dhcp_request", 1, None)
    ]


def test_a_phone_that_does_not_release_only_stops():
    machine = client(releases_on_shutdown=False)
    bind(machine)
    play(machine, [(1.0, ShutdownRequested(), [RemoveAddress(address=ADDRESS)])])


def test_shutdown_gives_a_link_local_address_up():
    machine = client()
    now, outputs = fail(machine)
    (probe,) = [item for item in outputs if isinstance(item, ProbeAddress)]
    machine.handle(free(probe.address), now)
    play(machine, [(now + 1, ShutdownRequested(), [RemoveAddress(address=probe.address)])])


# --- the profile -------------------------------------------------------------


def first_message(**config):
    machine = client(**config)
    (sent,) = [item for item in machine.handle(WANTED, 0.0) if isinstance(item, SendDhcp)]
    return sent.message


def test_a_profile_chooses_options_and_flag():
    message = first_message(
        vendor_class="CPE-OCPhone",
        parameter_request_list=(3, 1),
        host_name="CX600-1",
        sends_client_identifier=False,
        broadcast_flag=True,
    )
    assert message.flags == BROADCAST_FLAG
    assert list(message.options.items()) == [
        (53, b"\1"),
        (12, b"CX600-1"),
        (60, b"CPE-OCPhone"),
        (55, bytes((3, 1))),
    ]


@pytest.mark.parametrize(
    ("secs", "seen"),
    [
        ("elapsed", [0, 4, 12, 268]),
        ("byte-swapped", [0, 4 << 8, 12 << 8, 12 << 8 | 1]),
        ("zero", [0] * 4),
    ],
)
def test_a_profile_chooses_what_secs_holds(secs, seen):
    machine = client(secs=secs, retransmit_delays=(4, 8, 256, 8))
    sent = machine.handle(WANTED, 0.0)
    for now in (4.0, 12.0, 268.0):
        sent += machine.handle(TIMER, now)
    assert [item.message.secs for item in sent if isinstance(item, SendDhcp)] == seen


@pytest.mark.parametrize("seed", range(20))
def test_xids_are_random_and_fit_their_field(seed):
    machine = client(random.Random(seed))
    bind_with(machine)
    sent = [machine.handle(TIMER, at) for at in (1800.0, 3150.0)]
    sent.append(machine.handle(ShutdownRequested(), 3151.0))
    xids = [item.message.xid for items in sent for item in items if isinstance(item, SendDhcp)]
    assert len(set(xids)) == 3
    assert all(0 <= xid < 1 << 32 for xid in xids)
    assert max(xids) > 1 << 16


def bind_with(machine):
    """Take a machine to BOUND whose xids are not known beforehand."""
    machine.handle(WANTED, 0.0)
    machine.handle(offer(machine.state.sent.xid), 0.0)
    machine.handle(ack(machine.state.sent.xid), 0.0)
    machine.handle(free(), 0.0)
