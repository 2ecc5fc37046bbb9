"""Flagger itself beside Serinus: its objects recorded, and both measured on one API server."""
