"""ARP as the phones of the wire world need it: probes, announcements and next hops.

A probe asks with the phone's own MAC whether somebody has the address it was offered.
The MAC that goes with a configured address is the caller's choice: where the kernel
takes frames for the interface's MAC only, it must be that one. An address is announced
as soon as it is configured, so that whoever had it or sent to it learns better. For addresses
that the kernel does not have, questions are answered here.

Who claims an address is told to `claimed`, be it that of a phone or not.

Specifications: RFC 826, RFC 5227 sections 2.1.1 (probes), 2.3 (announcements) and 2.4
(whoever sends ARP from an address claims it).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from phonesim.config.device_profile import ArpConfig
from phonesim.errors import DecodeError
from phonesim.wire.dhcp import UNSPECIFIED, format_mac
from phonesim.wire.frame import (
    ARP_REPLY,
    ARP_REQUEST,
    BROADCAST_MAC,
    UNKNOWN_MAC,
    ArpFrame,
    decode_arp_frame,
    encode_arp_frame,
)

REQUESTS = 3
REQUEST_INTERVAL = 0.5
NEIGHBOR_SECONDS = 600.0
"""How long a next hop's MAC is believed without hearing from it."""


class Arp:
    """ARP on one interface; `send` sends a frame, `claimed` takes an address and a MAC."""

    def __init__(
        self, send: Callable[[bytes], object], claimed: Callable[[str, bytes], None]
    ) -> None:
        self._send = send
        self._claimed = claimed
        self._loop = asyncio.get_running_loop()
        self._probes: dict[str, _Probe] = {}
        self._neighbors: dict[str, tuple[bytes, float]] = {}
        self._waiting: dict[str, list[Callable[[bytes], None]]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._answered: dict[str, bytes] = {}

    def close(self) -> None:
        """Stop every timer; what was waited for does not come."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def probe(
        self, address: str, mac: bytes, timing: ArpConfig, done: Callable[[str | None], None]
    ) -> None:
        """Find out who else has `address`; `done` takes its MAC as text, or later None."""
        other = self._probes.get(address)
        if other is not None:
            done(format_mac(other.mac))
            return
        if not timing.probes:
            self._loop.call_soon(done, None)
            return
        probe = self._probes[address] = _Probe(mac, timing, done)
        self._send_probe(address, probe, 1)

    def announce(
        self, address: str, mac: bytes, times: int, interval: float, is_wanted: Callable[[], bool]
    ) -> None:
        """Say so many times that `address` is at `mac`, as long as it still is."""
        if times < 1 or not is_wanted():
            return
        self._send_request(mac, address, address)
        if times > 1:
            self._later(
                interval, lambda: self.announce(address, mac, times - 1, interval, is_wanted)
            )

    def resolve(
        self, address: str, mac: bytes, source: str, ready: Callable[[bytes], None]
    ) -> None:
        """Give `ready` the MAC of `address`, never, if nobody answers.

        The question comes from `mac` and the address `source`.
        """
        known = self._neighbors.get(address)
        if known is not None and known[1] > self._loop.time():
            ready(known[0])
        elif address in self._waiting:
            self._waiting[address].append(ready)
        else:
            self._waiting[address] = [ready]
            self._ask(address, mac, source, 1)

    def answer(self, address: str, mac: bytes) -> None:
        """Say from now on, to whoever asks, that `address` is at `mac`."""
        self._answered[address] = mac

    def answer_no_more(self, address: str) -> None:
        """Leave questions for `address` to others."""
        self._answered.pop(address, None)

    def learn(self, address: str, mac: bytes) -> None:
        """Note that what is for `address` goes to `mac`."""
        self._neighbors[address] = (mac, self._loop.time() + NEIGHBOR_SECONDS)
        for ready in self._waiting.pop(address, ()):
            ready(mac)

    def heard(self, data: bytes) -> None:
        """Take a frame that was received, if it is ARP between Ethernet and IPv4."""
        try:
            frame = decode_arp_frame(data)
        except DecodeError:
            return
        if frame is None:
            return
        if frame.sender_ip in self._waiting:
            self.learn(frame.sender_ip, frame.sender_mac)
        owner = self._answered.get(frame.target_ip)
        if owner is not None and frame.operation == ARP_REQUEST and frame.sender_mac != owner:
            self._reply(owner, frame)
        is_probe = frame.sender_ip == UNSPECIFIED and frame.operation == ARP_REQUEST
        address = frame.target_ip if is_probe else frame.sender_ip
        probe = self._probes.get(address)
        if probe is not None and frame.sender_mac != probe.mac:
            del self._probes[address]
            probe.done(format_mac(frame.sender_mac))
        elif not is_probe:
            self._claimed(frame.sender_ip, frame.sender_mac)

    def _send_probe(self, address: str, probe: _Probe, number: int) -> None:
        if self._probes.get(address) is not probe:
            return
        if number > probe.timing.probes:
            del self._probes[address]
            probe.done(None)
            return
        self._send(
            encode_arp_frame(
                ArpFrame(
                    operation=ARP_REQUEST,
                    source_mac=probe.mac,
                    destination_mac=BROADCAST_MAC,
                    sender_mac=probe.mac,
                    sender_ip=UNSPECIFIED,
                    target_mac=UNKNOWN_MAC,
                    target_ip=address,
                )
            )
        )
        is_last = number == probe.timing.probes
        delay = probe.timing.announce_wait if is_last else probe.timing.probe_interval
        self._later(delay, lambda: self._send_probe(address, probe, number + 1))

    def _ask(self, address: str, mac: bytes, source: str, number: int) -> None:
        if address not in self._waiting:
            return
        if number > REQUESTS:
            del self._waiting[address]
            return
        self._send_request(mac, source, address)
        self._later(REQUEST_INTERVAL, lambda: self._ask(address, mac, source, number + 1))

    def _send_request(self, mac: bytes, source: str, target: str) -> None:
        self._send(
            encode_arp_frame(
                ArpFrame(
                    operation=ARP_REQUEST,
                    source_mac=mac,
                    destination_mac=BROADCAST_MAC,
                    sender_mac=mac,
                    sender_ip=source,
                    target_mac=UNKNOWN_MAC,
                    target_ip=target,
                )
            )
        )

    def _reply(self, mac: bytes, request: ArpFrame) -> None:
        self._send(
            encode_arp_frame(
                ArpFrame(
                    operation=ARP_REPLY,
                    source_mac=mac,
                    destination_mac=request.sender_mac,
                    sender_mac=mac,
                    sender_ip=request.target_ip,
                    target_mac=request.sender_mac,
                    target_ip=request.sender_ip,
                )
            )
        )

    def _later(self, delay: float, perform: Callable[[], object]) -> None:
        def expired() -> None:
            self._timers.discard(timer)
            perform()

        timer = self._loop.call_later(delay, expired)
        self._timers.add(timer)


class _Probe:
    __slots__ = ("done", "mac", "timing")

    def __init__(self, mac: bytes, timing: ArpConfig, done: Callable[[str | None], None]) -> None:
        self.mac = mac
        self.timing = timing
        self.done = done
