"""Measurements, as ratios within one run; each prints its command, date and machine."""
