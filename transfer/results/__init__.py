"""All models side by side: the Model Performance Table, intervals and tests, REPORT.md and the page.

In: what evaluation and training wrote of each model. Out: metrics/REPORT.md, metrics/compare.json, plots, and
.report/index.html. Begin with `performance`, then `report`.
"""
