"""Before a run: everything that can be known without a model loaded or a GPU taken. See docs/preview.md."""
