"""The slot guard: it refuses a cached answer where a number, a name, a negation or another slot differs."""
