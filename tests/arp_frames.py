"""ARP frames of a host, as it would send them itself."""

from phonesim.wire.frame import BROADCAST_MAC, UNKNOWN_MAC, ArpFrame, encode_arp_frame


def arp_frame(
    operation: int,
    sender_mac: bytes,
    sender_ip: str,
    target_ip: str,
    destination_mac: bytes = BROADCAST_MAC,
    vlan_id: int | None = None,
) -> bytes:
    """A frame from that MAC which asks for an address, or says whose the sender's is."""
    return encode_arp_frame(
        ArpFrame(
            operation=operation,
            source_mac=sender_mac,
            destination_mac=destination_mac,
            sender_mac=sender_mac,
            sender_ip=sender_ip,
            target_mac=UNKNOWN_MAC,
            target_ip=target_ip,
            vlan_id=vlan_id,
        )
    )
