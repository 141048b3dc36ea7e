"""An experiment before and while it is queued: what is missing of it, what that takes, and its jobs in one transaction."""
