"""How requests bring studies and how answers are written: tables in every form, pages, problems."""
