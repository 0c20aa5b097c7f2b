"""The demo cloud account and its inventory service."""
