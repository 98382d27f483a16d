"""split: which rows train and which validate, with label rates equal in both."""
