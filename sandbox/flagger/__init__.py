"""Flagger itself, built from its published module, to be recorded and measured beside Serinus."""
