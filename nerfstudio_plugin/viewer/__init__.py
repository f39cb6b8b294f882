"""The panel in Nerfstudio's viewer."""
