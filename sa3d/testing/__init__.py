"""Public helpers for tests: fields and scenes with known answers, and contract checks."""
