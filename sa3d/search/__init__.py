"""Search for objects without a click: all objects of a scene, or the object that words name."""
