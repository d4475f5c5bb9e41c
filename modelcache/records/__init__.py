"""What every part hands on: questions, entries, observations, vectors. Imports errors and hashing only."""
