"""What accounts and networks hold: resources and assets."""
