"""What an operator does with the entries: export and import."""
