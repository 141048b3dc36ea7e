"""Words for the codes that parts exchange. Only what shows something to a person imports this room: console and commands."""
