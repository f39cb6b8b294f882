"""The protocol that a radiance field fills. Knows no framework."""
