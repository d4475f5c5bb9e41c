"""Whether a cached answer may be reused: the weighing of all that speaks for and against it."""
