"""What an answer is, and what the checks of its task say of it."""
