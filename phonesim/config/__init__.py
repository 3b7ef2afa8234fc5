"""What can be configured: frozen pydantic models, unknown keys refused.

Every default cites its source; the grades are those of the device reference:
documented, field, source, inferred, unknown.
"""
