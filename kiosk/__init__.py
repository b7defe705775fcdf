"""A kiosk that people pay at by looking."""

__version__ = "0.1.0"
