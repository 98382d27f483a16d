"""What makes the pictures of the documentation, and what they are made from."""
