"""What people work on: made of findings, decided about, due."""
