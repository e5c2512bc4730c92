"""The decoding of image files to pixels, once, and the file that keeps them."""
