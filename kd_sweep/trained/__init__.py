"""What a trial has trained, read back from a root: its student, its teachers, and where they look."""
