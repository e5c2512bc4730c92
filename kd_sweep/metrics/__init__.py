"""Pure functions, tensors in and floats out."""
