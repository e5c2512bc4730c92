"""What Python code calls to launch: studies as values, one trial in this process."""
