"""Learning a site from what phones met there

    boots -> dhcp_part, names_part, services_part -> `Draft` -> site_files: profiles to edit
                                                  -> a run   -> comparison: the same outcome?

What was seen is kept byte for byte: options that are right become the site's configuration, what
was wrong a fault rule. Each entry says where it was seen. What nobody saw is healthy.
"""
