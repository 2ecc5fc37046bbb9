"""The Kubernetes API: one door to it, caches that follow it, and unstructured objects."""
