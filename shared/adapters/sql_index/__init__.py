"""The index over a relational database: SQLite embedded, Azure SQL deployed."""
