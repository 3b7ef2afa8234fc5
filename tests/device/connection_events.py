"""What the world tells a phone of its connection to a Registrar, from the phone at `ME`, `PORT`."""

from phonesim.device.events import ConnectionClosed, ConnectionFailed, ConnectionOpened
from phonesim.device.outcome import ConnectFailure

ME, PORT = "10.0.0.50", 50001


def opened(number=1):
    return ConnectionOpened(connection_id=number, local_address=ME, local_port=PORT)


def refused(number=1, failure=ConnectFailure.REFUSED):
    return ConnectionFailed(connection_id=number, failure=failure, detail="no luck")


def closed(number=1):
    return ConnectionClosed(connection_id=number, detail="closed by the server")
