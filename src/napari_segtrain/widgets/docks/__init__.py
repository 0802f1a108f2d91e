"""The docks themselves, and what they all share."""
