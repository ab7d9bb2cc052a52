"""How a network learns in a stage: its patches, its exams, and what is kept against a stop.

`run.fit` is the whole; the loop itself is `carbonmap.learning.loop`, which knows no file.
"""
