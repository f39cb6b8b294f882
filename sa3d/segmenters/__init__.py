"""Promptable 2D segmenters: the protocol, the embedded graph cut, and SAM with its relatives."""
