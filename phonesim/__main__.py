"""`python -m phonesim`: the command line, for where the script is not on the path."""

from phonesim.cli.main import run

if __name__ == "__main__":
    run()
