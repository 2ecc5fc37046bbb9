"""The Canary API as several services read it: models of the objects, names of what belongs to a canary, builtin queries."""
