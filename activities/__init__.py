"""Thin steps between contracts and scanners or storage."""
