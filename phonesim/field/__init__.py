"""Tools for the field engineer: what is wrong with a site, from its logs, its packets, or itself.

One way of thinking, whatever the input is:

    a device log  -> `log_reader`     \\
    a capture     -> `captures`        > Sightings -> `boots` -> rules -> Findings -> `diagnosis`
    a live boot   -> its device log   /

A `Sighting` is one thing that a phone did or met, under the name that its device log has for it;
a capture is read as the log that the phones in it would have written. A rule looks at one
boot's sightings and names a cause (`causes`) with its evidence. Nothing is found without.
"""
