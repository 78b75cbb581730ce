"""One file a command: flags and exit codes, no logic."""
