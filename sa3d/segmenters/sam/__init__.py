"""SAM and its relatives, through transformers."""
