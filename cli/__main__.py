"""`python -m cli <verb>`"""

import asyncio
import logging
import sys

from cli import app

if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)  # libraries complain about what is refused in one sentence anyway
    sys.exit(asyncio.run(app.main(sys.argv[1:], print)))
