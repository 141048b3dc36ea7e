"""What is installed on this machine, what it can do, and what to do about the rest."""
