"""The phone's place in the network: a voice VLAN and an address, the stages vlan and ip.

The stage vlan is LLDP's. Where no switch names a voice VLAN a DHCP server may, in the stage ip:
the DHCP client has given that lease back, and asks for another one in the VLAN. When the switch
names another VLAN later, the address is lost, and the DHCP client begins anew in that VLAN.

A phone with a fixed address probes it and uses it, or never does. One that takes no notice of
VLANs does without LLDP.

Specifications: device reference section 3.5, RFC 5227 section 2.1.
"""

from __future__ import annotations

from phonesim.config.device_profile import DeviceProfile
from phonesim.device import device_log as log
from phonesim.device.actions import ConfigureAddress, JoinVlan, PhoneAction, ProbeAddress
from phonesim.device.device_log import LogRecord
from phonesim.device.events import (
    AddressFailed,
    AddressLost,
    AddressProbed,
    AddressReady,
    AddressUnwanted,
    AddressWanted,
    CacheLoaded,
    Event,
    Lease,
    LeaseBound,
    LeaseFailed,
    LeaseLost,
    ShutdownRequested,
    StageEnded,
    StageEntered,
    VlanChanged,
    VlanJoined,
    VlanOffered,
    VlanSettled,
    VlanWanted,
)
from phonesim.device.outcome import FailureReason, Stage
from phonesim.device.tell import Tell

Output = PhoneAction | Event | LogRecord | Tell


class Attachment:
    """Takes `CacheLoaded`; gives `AddressReady`, `AddressFailed` and `AddressLost`.

    `fixed_lease` is an address that somebody typed in. `finds_vlan` is false for a phone that
    takes no notice of VLANs.
    """

    def __init__(
        self, profile: DeviceProfile, fixed_lease: Lease | None, *, finds_vlan: bool
    ) -> None:
        self._vlan = profile.vlan
        self._retry_interval = profile.dhcp.auto_ip_retry_interval
        self._fixed_lease = fixed_lease
        self._finds_vlan = finds_vlan
        self._loaded = CacheLoaded(address=None, services=None)
        self._vlan_id: int | None = None
        self._is_ending = False

    def handle(self, event: Event, now: float) -> list[Output]:
        """Take one event; return actions, log records, and events for the phone."""
        match event:
            case CacheLoaded():
                self._loaded = event
                return self._find_vlan()
            case VlanSettled():
                asks = self._vlan.dhcp_option and not event.is_told
                ended = StageEnded(stage=Stage.VLAN)
                return [ended, *self._join(event.vlan_id), *self._take_address(seeks_vlan=asks)]
            case VlanOffered():
                return [
                    log.VLAN_FOUND(event.vlan_id, f"dhcp:{event.server}"),
                    *self._join(event.vlan_id),
                    Tell("lldp", event),
                    Tell("dhcp", AddressWanted()),
                ]
            case VlanChanged() if not self._is_ending:
                return [
                    AddressLost(),
                    Tell("dhcp", AddressUnwanted()),
                    *self._join(event.vlan_id),
                    Tell("dhcp", AddressWanted()),
                ]
            case LeaseBound():
                return self._bound(event, now)
            case LeaseFailed():
                return [self._without_lease(event)]
            case LeaseLost() if not self._is_ending:
                return [*self._tell_lldp(event), AddressLost()]
            case AddressProbed() if self._fixed_lease is not None:
                return self._probed(event, self._fixed_lease)
            case ShutdownRequested():
                self._is_ending = True
                return []
            case AddressUnwanted():
                return [Tell("dhcp", event), *self._tell_lldp(ShutdownRequested())]
            case _:
                return []

    def next_deadline(self) -> tuple[float, str] | None:
        """It waits for nothing: LLDP and DHCP do."""
        return None

    # --- the VLAN ---

    def _find_vlan(self) -> list[Output]:
        if not self._finds_vlan:
            return self._take_address()
        if self._vlan.lldp_wait == 0:
            skipped = StageEnded(stage=Stage.VLAN, skipped=True)
            return [skipped, *self._take_address(seeks_vlan=self._vlan.dhcp_option)]
        return [StageEntered(stage=Stage.VLAN), Tell("lldp", VlanWanted())]

    def _join(self, vlan_id: int | None) -> list[Output]:
        if vlan_id == self._vlan_id:
            return []
        self._vlan_id = vlan_id
        return [JoinVlan(vlan_id=vlan_id), VlanJoined(vlan_id=vlan_id)]

    def _tell_lldp(self, event: Event) -> list[Output]:
        return [Tell("lldp", event)] if self._finds_vlan else []

    # --- the address ---

    def _take_address(self, *, seeks_vlan: bool = False) -> list[Output]:
        if self._fixed_lease is not None:
            return [ProbeAddress(address=self._fixed_lease.address)]
        wanted = AddressWanted(
            cached_address=self._loaded.address,
            cached_lease=self._loaded.lease,
            seeks_vlan=seeks_vlan,
        )
        return [StageEntered(stage=Stage.IP), Tell("dhcp", wanted)]

    def _probed(self, event: AddressProbed, fixed: Lease) -> list[Output]:
        if event.conflict is not None:
            return [
                log.ADDRESS_CONFLICT(event.address, event.conflict),
                AddressFailed(
                    reason=FailureReason.ADDRESS_IN_USE,
                    detail=f"{event.conflict} has it",
                    retry_in=None,
                ),
            ]
        return [
            ConfigureAddress(
                address=fixed.address, subnet_mask=fixed.subnet_mask, routers=fixed.routers
            ),
            Tell("resolver", LeaseBound(lease=fixed)),
            AddressReady(lease=fixed),
        ]

    def _bound(self, event: LeaseBound, now: float) -> list[Output]:
        lease = event.lease
        duration = lease.expires_at - now
        forever = duration == float("inf")
        out: list[Output] = [
            Tell("resolver", event),
            Tell("cache", event),
            *self._tell_lldp(event),
            log.DHCP_LEASE(
                lease.address,
                lease.subnet_mask,
                lease.server,
                -1 if forever else round(lease.t1_at - now),
                -1 if forever else round(lease.t2_at - now),
                -1 if forever else round(duration),
                ",".join(lease.routers),
                ",".join(lease.dns_servers),
                lease.domain or "",
                ",".join(lease.ntp_servers),
            ),
        ]
        if self._is_ending:
            return out
        if not event.is_renewal:
            out.append(StageEnded(stage=Stage.IP))
        return [*out, AddressReady(lease=lease, is_renewal=event.is_renewal)]

    def _without_lease(self, event: LeaseFailed) -> AddressFailed:
        where = "" if self._vlan_id is None else f" in VLAN {self._vlan_id}"
        using = "" if event.auto_ip is None else f"; using {event.auto_ip}"
        return AddressFailed(
            reason=FailureReason.NO_LEASE,
            detail=f"{event.detail}{where}{using}",
            retry_in=self._retry_interval,
        )
