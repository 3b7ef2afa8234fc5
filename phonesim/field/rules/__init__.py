"""The rules, one small function or table row a cause, grouped by where in a boot they look.

    vlan_rules, address_rules        before the phone has an address
    option_rules (option_verdict)    options 43 and 120, and the INFORM that asks for them
    name_rules, certificate_rules    DNS; the clock, certificates, TLS
    web_rules, registrar_rules       what the servers say
    site_rules                       what several phones show together

`ways` answers what rules ask of a boot, and `sign` is what they are made of. A rule takes a `Boot`
and yields findings with their evidence. `consequences` leaves out what only follows from something
else that was found.
"""
