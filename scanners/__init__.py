"""One file per tool: build the command, run it, turn its output into findings."""
