"""What a study chooses by name, such as its loss: built in, or from plug-ins."""
