"""What evac tells people: the lines of live output, and the report of a run.

Intuition: a run's journal already holds everything; here it is only put into words, a page and a drawing. Nothing in
this package decides, measures or asks the world: the same journal always gives the same report.
"""
