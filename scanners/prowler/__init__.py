"""Prowler: its environment, its checks, its shards, what it says."""
