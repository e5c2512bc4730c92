"""The fixtures of images that tests of this folder use."""

from tests.images import digits, noise_dataset, one_thread, write_images

__all__ = ["digits", "noise_dataset", "one_thread", "write_images"]
