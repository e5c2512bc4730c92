"""From image files to pixels, once."""
