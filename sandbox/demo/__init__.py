"""`make demo`: the guide on this machine, as a person would see it."""
