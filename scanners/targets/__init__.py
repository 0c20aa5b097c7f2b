"""What people write as targets, where these lead, and whether a scope allows them."""
