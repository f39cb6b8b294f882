"""Radiance fields, one module a method family."""
