"""Fit the confidence to labelled question pairs, and choose thresholds by what they cost."""
