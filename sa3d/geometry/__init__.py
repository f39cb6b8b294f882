"""Cameras, rays and the space they are in: the only room that turns pixels into rays."""
