"""From transcripts to data sets: which rows are kept, why the others are not, and what a training row looks like."""
