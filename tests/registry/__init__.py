"""Parts by name, and what other distributions bring."""
