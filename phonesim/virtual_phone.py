"""A phone under power in virtual time: its events, its deadlines, and what its actions do.

It lasts for one boot, and tells its keeper what it observes; when it gets power, and when
it loses it, is the keeper's affair.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Protocol, assert_never

from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.device.identity import KEY_FILE
from phonesim.device.phone import Output, Phone
from phonesim.errors import DecodeError
from phonesim.virtual_authority import (
    certificate_problem,
    certificate_validity,
    valid_until,
    virtual_signature,
)
from phonesim.virtual_connections import VirtualConnections
from phonesim.virtual_handshake import VirtualClientHandshake
from phonesim.virtual_network import PhonePort, VirtualNetwork
from phonesim.virtual_time import Alarm
from phonesim.world import PhoneDisk, PhoneSpec, new_phone

History = deque[tuple[float, on.Event]]
"""What a phone was told last, and when."""


class Keeper(Protocol):
    """Who gave a phone its power."""

    def observed(self, observation: on.Observation) -> None:
        """The phone let something be known."""
        ...

    def crashed(self, error: Exception) -> None:
        """The phone's machine raised."""
        ...


class VirtualPhone:
    """The phone of `spec` in one boot, whose randomness comes from `seed`."""

    __slots__ = (
        "_alarm",
        "_connections",
        "_disk",
        "_handshake",
        "_history",
        "_keeper",
        "_network",
        "_phone",
        "_port",
        "_seed",
        "_time",
    )

    def __init__(
        self,
        spec: PhoneSpec,
        disk: PhoneDisk,
        seed: str,
        network: VirtualNetwork,
        connections: VirtualConnections,
        keeper: Keeper,
        history: History,
    ) -> None:
        phone = new_phone(spec, Random(seed), certificate_validity)
        self._phone: Phone | None = phone
        self._disk = disk
        self._seed = seed
        self._network = network
        self._connections = connections
        self._time = network.time
        self._keeper = keeper
        self._history = history
        self._alarm = Alarm(network.time, phone, self._expired)
        self._handshake: tuple[int, VirtualClientHandshake, float] | None = None
        self._port = PhonePort(spec, self.receive)
        network.plug_in(self._port)

    def cut_power(self) -> None:
        """From now on the phone says nothing; its peers notice what they can."""
        self._phone = None
        self._alarm.stop()
        self._connections.unplug(self._port)
        self._network.unplug(self._port)

    def receive(self, event: on.Event) -> None:
        """Let the phone handle an event, and perform what it answers; nothing without power."""
        phone = self._phone
        if phone is None:
            return
        now = self._time.now
        self._history.append((now, event))
        capture = self._network.capture
        if capture is not None:
            capture.received(self._port.spec, event, now)
        try:
            outputs = phone.handle(event, now)
        except Exception as error:  # the contract: one phone is lost, the fleet goes on
            self._keeper.crashed(error)
            return
        self._perform(outputs)
        if self._phone is not None:
            self._alarm.set(phone.next_deadline())

    def _expired(self) -> None:
        self.receive(on.TimerExpired())

    def _soon(self, event: on.Event) -> None:
        """What takes no time comes after what happens already now."""
        self._time.after(0.0, self.receive, event)

    def _perform(self, outputs: list[Output]) -> None:
        disk, port, network, connections = self._disk, self._port, self._network, self._connections
        for output in outputs:
            match output:
                case do.WriteLog():
                    disk.append_log(output)
                case on.Observation():
                    self._keeper.observed(output)
                case do.SendDhcp():
                    network.send_dhcp(port, output)
                case do.SendDns():
                    network.send_dns(port, output)
                case do.SendHttp():
                    connections.send_http(port, output)
                case do.SendSip():
                    connections.send_sip(port, output)
                case do.WriteFile():
                    disk.write_file(output.name, output.data)
                case do.ProbeAddress():
                    network.probe(port, output.address)
                case do.ConfigureAddress():
                    network.add_address(port, output.address)
                case do.AnnounceAddress():
                    network.sent(port, output)  # nobody listens to ARP here
                case do.RemoveAddress():
                    network.remove_address(port, output.address)
                case do.SendNtp():
                    network.send_ntp(port, output)
                case do.MakeCertificateRequest():
                    if KEY_FILE not in disk.files():
                        disk.write_file(KEY_FILE, b"virtual key\n")
                    csr = f"csr {output.subject}".encode()
                    self._soon(on.CertificateRequestMade(subject=output.subject, csr=csr))
                case do.SignWithKey():
                    signature = virtual_signature(output.subject, output.data)
                    self._soon(on.DataSigned(data=output.data, signature=signature))
                case do.CheckCertificate():
                    problem = certificate_problem(output.certificate, output.subject)
                    self._soon(
                        on.CertificateChecked(certificate=output.certificate, problem=problem)
                    )
                case do.OpenConnection():
                    connections.open_connection(port, output)
                case do.SendKeepAlive():
                    connections.keep_alive(port, output)
                case do.BeginHandshake() | do.ContinueHandshake():
                    shaken = self._shake(output)
                    if shaken is not None:
                        self._soon(shaken)
                case do.CloseConnection():
                    connections.close(port, output)
                case do.DeleteFile():
                    disk.delete_file(output.name)
                case do.AdvertiseLldp():
                    network.advertise(port, output)
                case do.JoinVlan():
                    network.sent(port, output)
                    port.vlan_id = output.vlan_id
                case _:
                    assert_never(output)

    def _shake(self, action: do.BeginHandshake | do.ContinueHandshake) -> on.Event | None:
        """Take a step of the phone's inner TLS handshake, which takes no time."""
        number, received = action.handshake_id, b""
        if isinstance(action, do.BeginHandshake):
            handshake = VirtualClientHandshake(
                f"{self._seed}/handshake/{number}", action.server_name, action.certificate
            )
            self._handshake = (number, handshake, float(valid_until(action.certificate)))
        elif self._handshake is None or self._handshake[0] != number:
            return None
        else:
            received = action.received
        _, handshake, until = self._handshake
        try:
            flight = handshake.advance(received)
        except DecodeError as error:
            self._handshake = None
            return on.HandshakeFailed(handshake_id=number, detail=str(error))
        keys = handshake.keys
        if keys is not None:
            self._handshake = None
        return on.HandshakeAdvanced(
            handshake_id=number, flight=flight, keys=keys, valid_until=until
        )
