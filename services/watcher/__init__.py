"""The watcher senses: it follows the cluster and tells the router, in facts, what changed for which canary."""
