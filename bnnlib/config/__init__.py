"""The parameters: the schema of params.yaml, the topology, errors in words."""
