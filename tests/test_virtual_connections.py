"""HTTP exchanges and SIP connections of the virtual network: how they begin and end."""

from __future__ import annotations

from virtual_parts import SPEC, Nobody

from phonesim.config.fleet_profile import Links
from phonesim.device import actions as do
from phonesim.device import events as on
from phonesim.device.outcome import ConnectFailure
from phonesim.mocksite import exchange as site_side
from phonesim.virtual_connections import VirtualConnections
from phonesim.virtual_network import PhonePort, ServerPort, VirtualNetwork
from phonesim.virtual_time import VirtualTime
from phonesim.wire.http import HttpRequest, HttpResponse

PHONE, SERVER = "10.0.0.7", "10.0.0.1"
OPENED_AT, ANSWER_AT = 0.5, 0.75  # a round trip, and one way more


class Pair:
    """A phone and a server, which speak HTTP and SIP without TLS over a link of 0.25 s."""

    def __init__(self) -> None:
        self.time = VirtualTime()
        links = Links(latency=0.25, jitter=0)
        network = VirtualNetwork(self.time, links, 1, (), None)
        self.connections = VirtualConnections(network, 0.0)
        self.at_phone: list[tuple[float, on.Event]] = []
        self.at_server: list[tuple[float, site_side.ServerEvent]] = []
        self.phone = PhonePort(SPEC, lambda event: self.at_phone.append((self.time.now, event)))
        self.server = ServerPort(lambda event: self.at_server.append((self.time.now, event)))
        for protocol, port in (("http", 80), ("sip", 5060)):
            listener = site_side.Listener(
                name=protocol, protocol=protocol, address=SERVER, port=port, server=Nobody()
            )
            network.listen(listener, self.server)
        network.plug_in(self.phone)

    def ask(self, exchange_id: int, *, port: int = 80, continues: int | None = None) -> None:
        request = HttpRequest(scheme="http", host="web.example", port=port, path="/", message=None)
        action = do.SendHttp(
            exchange_id=exchange_id,
            request=request,
            source=PHONE,
            address=SERVER,
            trust=None,
            clock=0.0,
            timeout=10.0,
            continues=continues,
        )
        self.connections.send_http(self.phone, action)

    def answer(self, exchange_id: int, *, closes: bool = False) -> None:
        response = HttpResponse(status=200, closes=closes)
        self.connections.answer_http(
            site_side.SendHttpResponse(exchange_id=exchange_id, response=response)
        )

    def connect(self) -> int:
        """Open a SIP connection; returns what the server calls it."""
        action = do.OpenConnection(
            connection_id=1,
            source=PHONE,
            address=SERVER,
            port=5060,
            transport="tcp",
            server_name="sip.example",
            trust=None,
            clock=0.0,
            timeout=10.0,
        )
        self.connections.open_connection(self.phone, action)
        self.pass_time()
        accepted = self.at_server.pop()[1]
        assert isinstance(accepted, site_side.ConnectionAccepted)
        opened_at, opened = self.at_phone.pop()
        assert opened_at == OPENED_AT
        assert isinstance(opened, on.ConnectionOpened)
        assert opened.local_port == accepted.peer_port
        return accepted.connection_id

    def pass_time(self, until: float = 5.0) -> None:
        while self.time.step(until):
            pass

    def failures(self) -> list[tuple[float, ConnectFailure]]:
        return [
            (now, event.failure) for now, event in self.at_phone if isinstance(event, on.HttpFailed)
        ]


def test_a_request_comes_after_a_handshake_and_its_answer_goes_back() -> None:
    pair = Pair()
    pair.ask(7)
    pair.pass_time()
    ((arrived_at, asked),) = pair.at_server
    assert isinstance(asked, site_side.HttpReceived)
    assert arrived_at == ANSWER_AT
    pair.answer(asked.exchange_id)
    pair.answer(asked.exchange_id)  # nobody waits any more
    pair.pass_time(60.0)
    response = HttpResponse(status=200)
    assert pair.at_phone == [
        (ANSWER_AT + 0.25, on.HttpResponseReceived(exchange_id=7, response=response))
    ]


def test_where_nobody_listens_a_request_fails_after_a_round_trip() -> None:
    pair = Pair()
    pair.ask(7, port=81)
    pair.pass_time()
    assert pair.failures() == [(0.5, ConnectFailure.REFUSED)]


def test_a_request_without_an_answer_times_out() -> None:
    pair = Pair()
    pair.ask(7)
    pair.pass_time(60.0)
    assert pair.failures() == [(10.0, ConnectFailure.TIMEOUT)]


def test_a_connection_can_go_on_unless_the_server_closed_it() -> None:
    pair = Pair()
    pair.ask(7)
    pair.answer(1)
    pair.ask(8, continues=7)
    pair.answer(2, closes=True)
    pair.ask(9, continues=8)
    pair.pass_time()
    assert [now for now, _ in pair.at_server] == [0.25, 0.75]  # the second needs no handshake
    assert pair.failures() == [(0.0, ConnectFailure.CLOSED)]


def test_each_side_learns_that_the_other_closed() -> None:
    pair = Pair()
    number = pair.connect()
    pair.connections.drop(site_side.CloseClientConnection(connection_id=number))
    pair.connections.close(pair.phone, do.CloseConnection(connection_id=1))  # it is gone
    pair.pass_time()
    assert [type(event) for _, event in pair.at_phone] == [on.ConnectionClosed]
    assert pair.at_server == []

    pair = Pair()
    number = pair.connect()
    pair.connections.close(pair.phone, do.CloseConnection(connection_id=1))
    pair.connections.drop(site_side.CloseClientConnection(connection_id=number))
    pair.pass_time()
    assert [event for _, event in pair.at_server] == [
        site_side.ConnectionLost(connection_id=number)
    ]
    assert pair.at_phone == []


def test_a_server_that_goes_down_breaks_all_off_and_refuses() -> None:
    pair = Pair()
    number = pair.connect()
    pair.ask(7)
    pair.connections.close_ports(pair.server)
    pair.ask(8)
    pair.pass_time()
    assert site_side.ConnectionLost(connection_id=number) in [event for _, event in pair.at_server]
    assert [type(event) for _, event in pair.at_phone] == [
        on.ConnectionClosed,
        on.HttpFailed,
        on.HttpFailed,
    ]
    assert [failure for _, failure in pair.failures()] == [
        ConnectFailure.CLOSED,
        ConnectFailure.REFUSED,
    ]


def test_a_phone_without_power_leaves_nothing_under_way() -> None:
    pair = Pair()
    number = pair.connect()
    pair.ask(7)
    pair.connections.unplug(pair.phone)
    pair.answer(number + 1)
    pair.pass_time(60.0)
    assert site_side.ConnectionLost(connection_id=number) in [event for _, event in pair.at_server]
    assert pair.at_phone == []
