"""Making golden inputs from production inputs: which answers are shown, what marks become, how many are missing."""
