"""What went wrong with a model, from what is on record: symptoms in its answers, and causes on the way to them."""
