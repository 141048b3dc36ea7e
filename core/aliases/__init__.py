"""Production names on model servers: how one is looked at, and moved so that it never stands for two things."""
