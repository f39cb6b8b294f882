"""Model weights: their files on this machine, downloads, and errors for too little memory."""
