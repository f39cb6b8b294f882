"""Cameras, rays, bounds and view order; the only room that turns pixels into rays."""
