"""Fixtures of the analyzer's tests."""

from tests.unit.analyzer.tls import certificate

__all__ = ["certificate"]
