"""What is deleted when, what is held back, and what is kept of it."""
