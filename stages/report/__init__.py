"""What came out and why: a page to be looked at by people."""
