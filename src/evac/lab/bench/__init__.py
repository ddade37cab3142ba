"""How fast, and how safely: `make bench` runs real faults in the lab and reports what clients saw.

Figures come from the clients' own record (`evac.lab.measures`) and the checker; only the phases inside a run are evac's
own account. One scenario may answer several cases: a switch moves PostgreSQL and Valkey together.
"""
