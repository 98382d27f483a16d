"""Labels for photos without any."""
