"""A box for pictures of the console: a played GPU and server, a real runner, a trainer that only looks like one."""
