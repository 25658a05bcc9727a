"""`python -m lazynet` is the `lazynet` command."""

import sys

from lazynet.cli import main

if __name__ == "__main__":
    sys.exit(main())
