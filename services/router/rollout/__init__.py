"""The rollout machine: values and pure functions, no I/O, no clock, standard library only.

Start with `machine.py`: it opens with the rules and the transition table.
"""
