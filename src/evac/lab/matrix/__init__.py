"""Whether the promises hold, whatever happens: `make matrix` does every fault to a lab in every mode, many times.

What this is not: a measure of speed (`evac.lab.bench`), or of rare schedules (`evac.sim`); here all parts are real.
"""
