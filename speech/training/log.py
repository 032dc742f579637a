"""What long work says on the terminal."""

import logging
import os


def start_log() -> None:
    """Lines with the time of day, of the first rank alone: the others only warn."""
    level = logging.WARNING if int(os.environ.get("LOCAL_RANK", "0")) else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
