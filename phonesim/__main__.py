"""The program's door: `phonesim`, and `python -m phonesim`."""

import gc
import signal
import sys


def run() -> None:
    """Run the program."""
    # Importing the command line takes a third of a second. A Ctrl-C in it ends the program at
    # once: compiled modules print a KeyboardInterrupt that reaches them, or swallow it.
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from phonesim.cli.main import main

    signal.signal(signal.SIGINT, handler)
    status = main(sys.argv[1:])
    gc.freeze()  # the last look for cycles, as the program ends, takes seconds for a large fleet
    sys.exit(status)


if __name__ == "__main__":
    run()
