"""Templates of cluster jobs, and what renders them. See docs/jobs.md."""
