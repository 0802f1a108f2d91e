"""What the nodes do; torch is imported here, and nothing else of the graph imports this room."""
