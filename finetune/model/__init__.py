"""The network: TerraMind's backbone with widened inputs, and the weights it starts from."""
