"""How the server listens: its connections, and its log."""
