"""A mock server in virtual time: its events, its deadlines, and what its actions do."""

from __future__ import annotations

from phonesim.mocksite import exchange as site_side
from phonesim.mocksite.site import Site
from phonesim.virtual_connections import VirtualConnections
from phonesim.virtual_network import ServerPort, VirtualNetwork
from phonesim.virtual_time import Alarm
from phonesim.world import SiteObserver


class VirtualServer:
    """A server at its `port` of the network; `observer` is told what it reports as `name`."""

    __slots__ = ("_alarm", "_connections", "_name", "_network", "_observer", "_server", "port")

    def __init__(
        self,
        name: str,
        server: site_side.Server,
        network: VirtualNetwork,
        connections: VirtualConnections,
        observer: SiteObserver,
    ) -> None:
        self._name = name
        self._server = server
        self._network = network
        self._connections = connections
        self._observer = observer
        self._alarm = Alarm(network.time, server, self._expired)
        self.port = ServerPort(self.receive)

    def start(self) -> None:
        """Let what it does by itself begin."""
        self._alarm.set(self._server.next_deadline())

    def receive(self, event: site_side.ServerEvent) -> None:
        """Let it handle an event, and perform what it answers."""
        for action in self._server.handle(event, self._network.time.now):
            self._perform(action)
        self._alarm.set(self._server.next_deadline())

    def _expired(self) -> None:
        self.receive(site_side.ServerTimerExpired())

    def _perform(self, action: site_side.ServerAction) -> None:
        match action:
            case site_side.SendDhcpReply():
                self._network.answer_dhcp(action)
            case site_side.SendLldp():
                self._network.answer_lldp(action)
            case site_side.SendDnsResponse():
                self._network.answer_dns(action)
            case site_side.SendNtpReply():
                self._network.answer_ntp(action)
            case site_side.SendHttpResponse():
                self._connections.answer_http(action)
            case site_side.SendSipToClient():
                self._connections.answer_sip(action)
            case site_side.CloseClientConnection():
                self._connections.drop(action)
            case site_side.ClosePorts():
                self._connections.close_ports(self.port)
            case site_side.OpenPorts():
                self.port.is_down = False
            case site_side.ChangeCertificate():
                self._network.show_certificate(self.port, action.certificate)
            case site_side.Report():
                now = self._network.time.now
                self._observer.report(
                    self._name, action.text, action.fields, action.is_warning, now
                )
            case _:
                raise TypeError(f"no world performs {type(action).__name__}")


def connect_site(
    site: Site, network: VirtualNetwork, connections: VirtualConnections, observer: SiteObserver
) -> list[VirtualServer]:
    """Plug a site's servers into the network; returns those that can be reached there."""
    servers: dict[int, VirtualServer] = {}
    reached: dict[VirtualServer, None] = {}
    for listener in site.listeners:
        server = servers.get(id(listener.server))
        if server is None:
            server = VirtualServer(listener.name, listener.server, network, connections, observer)
            servers[id(listener.server)] = server
        network.listen(listener, server.port)
        if not listener.refuses:
            reached[server] = None
    if site.switch is not None:
        switch = VirtualServer("switch", site.switch, network, connections, observer)
        network.connect_switch(switch.port)
    return list(reached)
