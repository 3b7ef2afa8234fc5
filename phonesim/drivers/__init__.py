"""The only package that touches sockets, TLS, files, processes or the clock.

Three worlds of real sockets, `loopback`, `wire` and `relay`, run the same parts:

    live_world    the way of a run, from its keys to the last socket closed
    live_run      starts, reboots and ends the phones of a run
    phone_host    one powered phone: events in, actions out, one timer
    datagrams, http_client, sip_connection, trust    what a phone says, and to whom
    site_host     the mock site's servers, each behind a `server_host`
    site_datagrams, site_wire, site_http, site_sip   their ports
    authority, key_pool                              certificates and keys
    run_folder    each phone's virtual disk, for every world
    capture_file, interface_capture                  where captures go, and frames come from

They differ in how DHCP travels and what it takes to have an address: `LoopbackLink`, `WireLink`
and `RelayLink`. Below them are `link_phones`, `refusals`, `udp_socket`, `client_ports`,
`packet_socket`, `packet_filter`, `arp` and `interface`.
"""
