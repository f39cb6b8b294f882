"""SAM and its relatives, which run through transformers."""
