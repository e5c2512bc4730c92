"""The service by HTTP: routes under /api/v1, what guards them, and how answers are written."""
