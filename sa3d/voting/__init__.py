"""Steps of one view's vote: render the mask, self-prompt, choose a candidate, clean it."""
