"""All that a program needs to put the network to work, in one folder."""
