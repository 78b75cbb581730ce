"""The dataflows, and the only importers of ray."""
