"""The embedded cluster: a Kubernetes API emulator in one process and in memory, for the demo and the quick tests.

It does what those need and no more. `tests/contract/test_apiserver_conformance.py` runs the same suite against it and
against a real kube-apiserver, and marks what the emulator can't do. Enter at `server.ApiServer`.
"""
