"""Work that goes on beside the viewer: threads, the engine, and what they bring back."""
