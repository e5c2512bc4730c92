"""Formats of reports: HTML, Markdown, LaTeX and PDF of the same content."""
