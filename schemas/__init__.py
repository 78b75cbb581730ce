"""Data contracts: JSON Schema (2020-12) files, and the Arrow schemas derived from them.

Imports nothing of ours. `load(name)` gives a schema, `check(name, document)` validates (`check_row`: fast, for rows),
`arrow_schema(name)` is the pinned Arrow schema of a table, with the Hugging Face feature metadata.
"""

from schemas.arrow import arrow_schema
from schemas.validate import SchemaError, check, check_row, load

__all__ = ["SchemaError", "arrow_schema", "check", "check_row", "load"]
