"""Photos and labels: read from a source, checked, decoded once."""
