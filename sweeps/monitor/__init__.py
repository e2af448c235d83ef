"""The state of a sweep as people see it: status, table, log lines, summary."""
