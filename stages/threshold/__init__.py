"""Probabilities to labels: a temperature, and thresholds."""
