"""Reading text: its words, numbers and language, what is only form in it, and whether it stands alone."""
