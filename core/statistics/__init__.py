"""What may be said of the difference between candidates: intervals, tests, tied sets, and how alike repeats are."""
