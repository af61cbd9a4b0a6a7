"""The local Functions host: runs function_app.py unchanged without Core Tools."""
