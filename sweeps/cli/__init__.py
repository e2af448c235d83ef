"""What a person types: a module a command; nothing else imports from here."""
