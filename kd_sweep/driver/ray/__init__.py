"""Ray: started or joined, checked, watched, and what its failures mean."""
