"""The layouts of datasets on disk, one reader each."""
