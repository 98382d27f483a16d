"""What is fast, beside what people would use instead: ``python -m benchmarks.NAME``."""
