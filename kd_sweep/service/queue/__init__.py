"""What users ask of studies: submissions, changes, and the order in which they are run."""
