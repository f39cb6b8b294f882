"""Objects found without a click: everything that stands out, or what words name."""
