"""A network that gives each label a probability."""
