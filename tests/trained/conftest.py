"""The fixtures that tests of this folder use: images, and a fresh process for each test."""

from tests.distill.fresh_process import fresh_process
from tests.images import write_images

__all__ = ["fresh_process", "write_images"]
