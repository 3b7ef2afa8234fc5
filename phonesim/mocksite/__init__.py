"""The other side, pure: servers that are as strict as real ones.

A server takes the events of `exchange` and returns its actions; `site.Site`
builds the servers of a site profile and says where each listens. Faults wrap
servers (`faults.FaultInjector`), they never live inside one.
"""
