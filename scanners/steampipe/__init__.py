"""Steampipe: what accounts hold, table by table."""
