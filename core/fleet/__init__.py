"""What serves now, why it deserves to, and the way back."""
