import asyncio
import contextlib
import ssl
import time

import pytest
from serving import NAME, Machine, Observer, Serve, Served, site_of

from phonesim.drivers.authority import SiteAuthority
from phonesim.drivers.site_host import OFFSETS, SiteHost
from phonesim.drivers.trust import PhoneTls
from phonesim.errors import UsageError
from phonesim.mocksite import exchange as on


async def test_a_listener_shows_the_kind_of_certificate_that_it_names(
    serve: Serve, site_authority: SiteAuthority
) -> None:
    served = await serve("https", 443, certificate="expired")
    context = PhoneTls().context(site_authority.chain(), time.time())
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        await asyncio.open_connection(*served.place(443), ssl=context, server_hostname=NAME)


async def test_a_listener_that_refuses_is_not_bound(serve: Serve) -> None:
    served = await serve("http", 80, refuses=True)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*served.place(80))


async def test_two_sites_get_offsets_of_their_own(serve: Serve) -> None:
    first, second = await serve("dhcp", 67), await serve("dhcp", 67)
    assert first.host.port_offset in OFFSETS
    assert second.host.port_offset in OFFSETS
    assert first.host.port_offset != second.host.port_offset


async def test_a_taken_port_is_the_users_error(serve: Serve, site_authority: SiteAuthority) -> None:
    served = await serve("http", 80)
    listener = on.Listener(
        name="second", protocol="http", address=served.address, port=80, server=Machine()
    )
    host = SiteHost(site_of(listener), site_authority, Observer(), time.monotonic)
    with pytest.raises(UsageError, match=r"second .*already in use; .*--port-offset"):
        await host.start(served.host.port_offset)
    await host.stop()


async def test_an_address_of_another_machine_is_the_users_error(
    site_authority: SiteAuthority,
) -> None:
    listener = on.Listener(
        name="far", protocol="dns", address="192.0.2.77", port=53, server=Machine()
    )
    host = SiteHost(site_of(listener), site_authority, Observer(), time.monotonic)
    with pytest.raises(UsageError, match=r"far .*no such address"):
        await host.start(None)
    await host.stop()


async def handshake(served: Served, site_authority: SiteAuthority) -> None:
    context = PhoneTls().context(site_authority.chain(), time.time())
    _, writer = await asyncio.open_connection(*served.place(443), ssl=context, server_hostname=NAME)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_a_server_shows_another_certificate_for_a_while(
    serve: Serve, site_authority: SiteAuthority
) -> None:
    served = await serve("https", 443)
    order: list[on.ServerAction] = []
    served.machine.answer = lambda event: order
    await handshake(served, site_authority)
    for kind, refused in (("expired", "expired"), ("wrong-name", "is for wrong-name")):
        order[:] = [on.ChangeCertificate(certificate=kind)]
        served.host.server("server1").deliver(on.KeepAliveReceived(connection_id=0))
        with pytest.raises(ssl.SSLCertVerificationError, match=refused):
            await handshake(served, site_authority)
    order[:] = [on.ChangeCertificate(certificate="valid")]
    served.host.server("server1").deliver(on.KeepAliveReceived(connection_id=0))
    await handshake(served, site_authority)


@pytest.mark.parametrize(("protocol", "port"), [("dhcp", 67), ("dns", 53), ("ntp", 123)])
async def test_a_server_of_datagrams_goes_down_with_its_port_open(
    serve: Serve, protocol: str, port: int
) -> None:
    served = await serve(protocol, port)
    served.machine.answer = lambda event: [on.ClosePorts(), on.OpenPorts()]
    served.host.server("server1").deliver(on.KeepAliveReceived(connection_id=0))
    assert not served.host.failure.done()
