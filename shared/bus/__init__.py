"""The only code that touches NATS: accounts, streams, the broker, consuming, publishing, markers."""
