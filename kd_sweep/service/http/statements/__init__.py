"""The statements of SQL that users send: each in a process whose memory is bounded, and which may die."""
