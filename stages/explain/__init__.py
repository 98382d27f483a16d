"""explain: what a network looks at and reads, for the report and the command. No stage."""
