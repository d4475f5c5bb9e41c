"""What a model's traffic teaches: modes, feedback, compared answers, and the estimates made of them."""
