"""Bakehouse's library: everything the console and the commands do, without torch and without Textual."""

__version__ = "0.1.0"
