"""The words of captions, and captions as rows of their numbers."""
