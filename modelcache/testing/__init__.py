"""What a backend can prove itself with: a suite of tests for each contract, and a deterministic embedder.

A backend's test class inherits the suite and gives the fixture that the suite names. The suites need pytest,
which the extra ``testing`` installs; nothing else in ModelCache imports this package.
"""
