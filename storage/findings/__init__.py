"""What scans found: read, counted, exported, muted."""
