"""The Python API: opens a run or a saved segmentation; an opened scene, and its objects."""
