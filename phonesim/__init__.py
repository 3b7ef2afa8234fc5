"""Emulated Lync Phone Edition desk phones, by the fleet. This page is the map.

The layers, each importing only from those below it (`make check` verifies it)

    cli                       the command line: one module a verb family, no logic
    field                     the field engineer's tools: diagnose, reproduce, dhcputil, bootstrap
    fleet                     plan a fleet, run it, store and sum up what came of it
    drivers  |  simulation    sockets, TLS and files  |  the virtual world
                              (virtual_phone and virtual_server: each side of it;
                              virtual_network, virtual_connections: where they meet;
                              virtual_time: what happens next)
    profiles |  results       YAML to configuration   |  observations to figures
                              (and virtual_authority, virtual_capture: certificates and
                              captures of the virtual world)
    world    |  capture       what every world is given, and whom it tells
    device   |  mocksite      the phone               |  the site it meets, both pure
                              (and relay_agent: what may stand between them, pure too)
    config                    what can be configured, with its sources
    wire                      bytes to messages and back
    errors

One event's journey, in any world. A DHCP server's answer reaches a socket of
`drivers.loopback`, which decodes it with `wire.dhcp` and hands
`DhcpMessageReceived(message, source)` to `device.phone.Phone.handle(event, now)`. The
phone gives it to the sub-machine that sent the request, say `device.discovery`. That
returns log records, an `ExchangeEnded`, perhaps a `ServicesLocated`; the phone hands
the latter to `device.boot`, which has `device.sign_in` told to go on, and returns to
the driver what is left: `WriteLog`, `SendDns` (actions) and `StageEnded` (an
observation). The driver performs the actions, tells the observations to
`results.Recorder`, asks `next_deadline()` and sets one timer. In virtual time
`virtual_phone` does the same with a heap instead of sockets, and with messages instead
of bytes.

Where to start reading: `device.boot` for the boot, `device.discovery` for the race,
`device.events` and `device.actions` for the words; `mocksite.site` for the other side;
`drivers.phone_host` for the shell around a phone; `fleet.runner` for a run.
"""
