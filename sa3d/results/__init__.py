"""Results of a finished segmentation: final masks, probabilities, volumes, images."""
