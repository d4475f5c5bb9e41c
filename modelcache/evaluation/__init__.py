"""Measure the service's own decision on labelled questions."""
