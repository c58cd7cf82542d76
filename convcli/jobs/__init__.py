"""One run of a command: load, plan, execute and save."""
