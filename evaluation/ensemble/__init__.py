"""Several networks to one: their probabilities, averaged."""
