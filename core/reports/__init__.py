"""Reports that stand by themselves: a file to read, print or publish."""
