"""The only door to Jinja2: templates that cannot hang, fill the memory or touch an object.

Three fences, in this order. What a template may *say* is an allow-list over its syntax tree (`syntax`). What it may
*do* is counted while it runs: the tree is rewritten so that loops, comparisons, slices and calls first pay for the
size of what they read, from one purse a rendering (`purse`). What it may *make* is bounded where it is made:
operators and output (`environment`), filters (`filters`).
"""
