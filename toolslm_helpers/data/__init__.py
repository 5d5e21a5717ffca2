"""What comes in: ToolBench's records and files, and the embedded world that speaks the same formats."""
