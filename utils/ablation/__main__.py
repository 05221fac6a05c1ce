"""`python3 -m utils.ablation`."""

import sys

from utils.ablation.command import main

if __name__ == "__main__":
    sys.exit(main())
