"""Pairs of questions that are alike in their words and differ in one thing, or in nothing that matters."""

from modelcache.training.contrasts.making import contrasts

__all__ = ["contrasts"]
