"""Before a run: a few rows through the real chain, and what the whole job will take. See docs/preview.md."""
