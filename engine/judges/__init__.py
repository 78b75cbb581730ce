"""Judges: response -> verdict. One file a judge."""
