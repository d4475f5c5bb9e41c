"""How often a hit is wrong, on questions that nothing was fitted on: ``scripts/bench trust``.

The suites in ``data`` were written for this project; real pairs are split by question (``split``).
"""
