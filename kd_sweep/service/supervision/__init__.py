"""The supervision of studies: their drivers, the Ray under them, and what becomes of both when one of them dies."""
