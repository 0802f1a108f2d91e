"""Editors that speak the schema: a value goes in, the same value comes out."""
