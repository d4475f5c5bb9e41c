"""Who may ask, what they may do, and how often."""
