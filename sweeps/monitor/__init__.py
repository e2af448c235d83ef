"""How a sweep stands, shown to people: status, table, closing lines."""
