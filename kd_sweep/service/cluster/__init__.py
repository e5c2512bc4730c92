"""The cluster under the studies: its nodes, and who uses them."""
