"""The servers of a one-machine installation, run as supervised child processes."""
