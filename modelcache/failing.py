"""What keeps the service from starting is said here, in one sentence, and nowhere else."""

import sys


def say_why_not(reason: object) -> None:
    """Say on stderr why the service cannot start."""
    print(f"modelcache cannot start: {reason}", file=sys.stderr, flush=True)
