"""Measuring what models answer: rates with their intervals, and who judged."""
