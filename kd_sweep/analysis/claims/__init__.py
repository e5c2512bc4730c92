"""The paper's claims, and a verdict on each."""
