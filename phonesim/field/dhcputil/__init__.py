"""The counterpart of DHCPUtil.exe: options 43 and 120 written, read, asked for and configured.

    sign_in_values    what an administrator wants phones to be told, and its octets
    printed_form      the text that DHCPUtil.exe prints of it
    servers           the DHCP servers that are known, each in a module of its own that writes
                      their configuration and reads it back (`windows_dhcp`, `kea`, `isc_dhcpd`,
                      `dnsmasq`, `cisco_ios`, `bare_hex`)
    named_input       what is to be read: octets, configurations, captures (`captured_options`)
    inspection        what the octets of an option say, and what is wrong with them
    emulated_client   a phone that asks with DHCPINFORM, and what it makes of the answers;
                      `client_findings` says what is wrong with them

What a phone takes is never judged here: `informed_phone` asks the emulated phone itself. Which
cause is behind octets that are wrong is `field.rules.option_verdict`'s to say.
"""
