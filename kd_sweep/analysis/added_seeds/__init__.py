"""Seeds that are added while verdicts are open: the looks at a study, what is decided, how many seeds to expect."""
