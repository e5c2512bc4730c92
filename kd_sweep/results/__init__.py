"""Tables on disk: how they are laid out, written while a study runs, kept compact, read and queried."""
