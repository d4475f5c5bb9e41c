"""Teaches the embedder and the reader from labelled pairs: offline only, with torch."""
