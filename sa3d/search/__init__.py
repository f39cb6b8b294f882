"""Search for objects: all objects of a scene, or the object that words name."""
