"""The node editor: a graph that is seen, and changed by mouse and by keyboard."""
