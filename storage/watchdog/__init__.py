"""What in the store contradicts itself, and the record of its repair."""
