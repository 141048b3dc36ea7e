"""Who is better: checks, scoring, statistics, the leaderboard and its report."""
