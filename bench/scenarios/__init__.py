"""What must cost people nothing: each scenario is played under load, and comes to one row of a table.

`scenario.py` says what a scenario is, `catalogue.py` lists them all. The cluster suite plays the same ones and holds them
to zero; `python -m bench scenarios` prints the table.
"""
