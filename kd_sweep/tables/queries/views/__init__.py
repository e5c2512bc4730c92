"""Views: named queries whose answers are small whatever the size of a study, for figures, pages and reports."""
