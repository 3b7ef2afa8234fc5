"""Captures read as the device logs that the phones in them would have written.

    file -> `wire.pcap` -> link_layer, fragments -> phones_in_captures: whose is it?
         -> captured_link | captured_dhcp | captured_names | captured_streams (web, SIP, TLS)
         -> `capture_reader`: sightings

A narrator of each protocol tells what its phone would have logged; packets that no phone sent or
met are left out as early as possible.
"""
