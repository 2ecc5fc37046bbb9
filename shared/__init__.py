"""What at least two services speak: wire messages, the Canary API models, the doors to NATS and Kubernetes, telemetry."""
