"""Served models: llama-servers that Bakehouse runs for production, each with a folder of its own in `Home.served`."""
