"""The sweep service: a queue of studies, the drivers that run them, and who may ask for what."""
