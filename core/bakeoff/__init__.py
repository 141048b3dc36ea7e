"""Who is better: the leaderboard of a task, and the matrix of several."""
