"""report.html: one self-contained page about a curated data set, safe to open and to send on.

Covers: the headline rates, the funnel, p(harmful), verdict flips, cues, duplicates, leakage, diversity, rejected rows
and single rows step by step. Does not cover: anything that was not computed before (the page calls no model and says
"not computed"), and live filtering (the page is a record, not an application).
"""

from engine.report.write import write_report

__all__ = ["write_report"]
