"""`python3 -m utils.benchmark`."""

import sys

from utils.benchmark.command import main

if __name__ == "__main__":
    sys.exit(main())
