"""How many sockets a run may hold open, which is what limits a fleet first."""

from __future__ import annotations

import resource

from phonesim.errors import UsageError

_BASE = 256
_BOOTING = 500
_SOCKETS_OF_A_BOOT = 5


def allow_most_open_files() -> None:
    """Raise this process's limit as far as it may go: a site does not know who will come."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def allow_open_files(phones: int, *, has_site: bool) -> None:
    """Raise this process's limit to what a fleet needs; `UsageError` if that is not permitted.

    A phone holds one connection, and a site in the same process its other end; while
    phones boot they hold some more.
    """
    needed = _BASE + phones * (2 if has_site else 1)
    needed += min(phones, _BOOTING) * _SOCKETS_OF_A_BOOT
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    highest = needed if hard == resource.RLIM_INFINITY else max(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, highest))
    except (ValueError, OSError):  # only root may have more than `hard`
        pass
    else:
        return
    raise UsageError(
        f"{phones} phones need {needed} open files and this process may have {hard}: "
        f"raise the limit (ulimit -Hn {needed}, as root), or run fewer phones"
    )
