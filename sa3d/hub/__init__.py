"""Model weights on this machine: found, fetched, and fitted into memory."""
