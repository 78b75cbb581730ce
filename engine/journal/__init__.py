"""The durable side of a run: rows that survive kill -9, what is done, the lock, and the seal. Imports no ray.

store     one output folder, local or on an object store; every write is all or nothing
frames    the bytes of one journalled record, and how damage is skipped
segments  the writer that each actor holds
index     what is done already
run       run.json: which run a folder belongs to
plan      which record of the journal becomes which row of the sealed tables
bodies    records by their index, as sealing reads them
seal      journal -> Parquet + manifest.json
lock      one run at a time on an output
"""
