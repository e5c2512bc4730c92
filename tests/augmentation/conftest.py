"""The fixtures of images that tests of this folder use."""

from tests.images import digits, noise_dataset, one_thread, stream_config

__all__ = ["digits", "noise_dataset", "one_thread", "stream_config"]
