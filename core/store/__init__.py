"""What has happened: the database, its migrations, and the queries that the rest of Bakehouse asks by name."""
