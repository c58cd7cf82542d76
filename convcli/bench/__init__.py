"""Time the methods against each other, and against the peers that are installed."""
