"""POSTs to somebody's HTTP server: webhooks for the analyzer and the notifier, and what alerts share with them."""
