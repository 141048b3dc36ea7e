"""What runs when: submission, the runner, a shim for each attempt, and what is believed about processes."""
