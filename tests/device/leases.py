"""Leases that last as long as any test."""

from typing import Any

from phonesim.device.events import Lease


def long_lease(address: str = "10.0.0.50", **more: Any) -> Lease:
    return Lease(
        address=address,
        subnet_mask="255.255.0.0",
        server="10.0.0.1",
        t1_at=1e6,
        t2_at=2e6,
        expires_at=3e6,
        **more,
    )
