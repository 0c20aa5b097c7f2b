"""Rules by which scans start scans, and what they started."""
