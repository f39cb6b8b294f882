"""The protocol of a radiance field; independent of any NeRF framework."""
