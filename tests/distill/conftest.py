"""A fresh process for each test of this folder."""

from tests.distill.fresh_process import fresh_process

__all__ = ["fresh_process"]
