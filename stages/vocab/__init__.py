"""Captions to numbers."""
