"""What has changed since a bake-off: its tasks, its files, its servers."""
