"""The program's door: `phonesim`, and `python -m phonesim`."""

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
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
