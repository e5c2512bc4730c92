"""The teachers of a trial, and their answers to its images."""
