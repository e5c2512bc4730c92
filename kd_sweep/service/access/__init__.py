"""Who may ask what of the service: roles, tokens, browser sessions, and the record of changes."""
