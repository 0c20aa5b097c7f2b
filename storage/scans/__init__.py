"""Scans, their shards, and files that are read as scans."""
