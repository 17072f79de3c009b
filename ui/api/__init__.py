"""HTTP: the platform's operations under `/v1`, with OpenAPI documentation at `/docs`."""
