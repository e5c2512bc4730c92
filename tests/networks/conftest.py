"""The images of the tests, for this folder."""

from tests.images import digits, noise_dataset, one_thread, stream_config, write_images

__all__ = ["digits", "noise_dataset", "one_thread", "stream_config", "write_images"]
