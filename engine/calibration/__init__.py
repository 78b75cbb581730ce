"""Judge calibration: from what a judge says to how often it is right.

The judge's p(harmful) is a ratio of two token probabilities, not a frequency. `calibrate` fits a monotone curve from it
to the share of harmful answers on rows that somebody labelled, and chooses the threshold for a stated false-positive
rate; generate applies both (`--calibration`), and curate sets aside what lies in the abstain band.
"""
