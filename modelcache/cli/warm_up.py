"""``modelcache warm-up``: ``import``, by the name that those look for who have questions and answers."""

from modelcache.cli.import_ import add_arguments, run

__all__ = ["add_arguments", "run"]
