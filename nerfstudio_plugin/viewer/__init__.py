"""The panel in Nerfstudio's viewer: marks become prompts, events become widgets."""
