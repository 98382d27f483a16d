"""What is in the data: numbers, tables and pictures to read before training anything."""
