"""What the network looks at and reads: pages to be looked at by people."""
