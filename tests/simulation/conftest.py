"""The fixtures of `virtual_runs`."""

from virtual_runs import run_fleet

__all__ = ["run_fleet"]
