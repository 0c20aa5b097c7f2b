"""Schedules, the runs of jobs, and the items that expire."""
