"""Passes: Graph -> Graph, each in its own file; a verified graph before and after."""
