"""What a person does with Serinus from a terminal: with their own kubeconfig and rights, and without the bus."""
