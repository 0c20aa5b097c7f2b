"""Tools that look at targets themselves: one file for each, and what they have in common."""
