"""How one view votes: render the mask, self-prompt, choose a candidate, tidy it."""
