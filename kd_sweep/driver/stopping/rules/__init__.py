"""The stopping rules that a study can name, a file each, of the rule's name: its parameters, and the rule itself."""
