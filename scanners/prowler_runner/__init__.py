"""Runs inside Prowler's interpreter: the standard library and Prowler, nothing of ours outside."""
