"""Cluster jobs: what a job needs, worked out from the same configuration as the run itself. See docs/jobs.md."""
