"""`python3 -m utils.app`."""

import sys

from utils.app.server import main

if __name__ == "__main__":
    sys.exit(main())
