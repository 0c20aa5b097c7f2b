"""What native scans look at, and the scopes that allow it."""
