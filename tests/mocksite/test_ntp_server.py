import pytest

from phonesim.config.site_profile import NtpServerConfig
from phonesim.mocksite.exchange import MalformedArrived, NtpReceived
from phonesim.mocksite.ntp_server import NtpServer
from phonesim.wire.ntp import CLIENT, SERVER, NtpPacket, to_unix

EPOCH = 1_767_596_400.0


@pytest.fixture
def server():
    return NtpServer(NtpServerConfig(name="ntp01", address="10.0.0.12"), EPOCH)


def received(**fields):
    fields = {"mode": CLIENT, "transmit": 0x1234_5678_9ABC_DEF0, **fields}
    return NtpReceived(packet=NtpPacket(**fields), client="phone")


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_client_is_told_the_site_s_time(server, version):
    (sent,) = server.handle(received(version=version), 12.5)
    packet = sent.packet
    assert sent.client == "phone"
    assert (packet.mode, packet.version, packet.leap) == (SERVER, version, 0)
    assert packet.originate == 0x1234_5678_9ABC_DEF0
    assert to_unix(packet.transmit) == pytest.approx(EPOCH + 12.5, abs=1e-6)
    assert packet.receive == packet.transmit
    assert to_unix(packet.reference) < to_unix(packet.receive)
    # What a client checks: synchronised, and by somebody.
    assert packet.stratum == 1
    assert packet.reference_id == b"LOCL"


@pytest.mark.parametrize("fields", [{"mode": SERVER}, {"mode": 1}, {"version": 5}, {"version": 0}])
def test_what_no_client_sends_is_dropped(play, said, server, fields):
    play(server, [(0, received(**fields), [said("no client's")])])


def test_malformed_packets_are_reported(play, said, server):
    event = MalformedArrived(protocol="ntp", source="10.0.0.7", reason="47 octets")
    play(server, [(0, event, [said("malformed")])])


def test_a_server_waits_for_nothing(server):
    assert server.next_deadline() is None
