"""A box for pictures of the console: a played card and server, a real runner, a trainer that only looks like one."""
