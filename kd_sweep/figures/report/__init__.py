"""The report of a study: one HTML file that says what was asked, what came out, and how to get it again."""
