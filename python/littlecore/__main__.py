"""`python -m littlecore` is the `littlecore` program."""

import sys

from littlecore.cli import main

if __name__ == "__main__":
    sys.exit(main())
