"""Ground floor: errors, value checks, atomic files, undo. Imports nothing of this package."""
