"""The report: what one sweep or several show, as one HTML page that needs no network."""
