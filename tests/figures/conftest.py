"""The images of the tests, and a fresh process for each, for this folder."""

from tests.distill.fresh_process import fresh_process
from tests.images import digits, noise_dataset, one_thread, stream_config, write_images

__all__ = ["digits", "fresh_process", "noise_dataset", "one_thread", "stream_config", "write_images"]
