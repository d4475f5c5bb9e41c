"""Makes the files that are shipped in ``model/``; the service needs nothing of it."""
