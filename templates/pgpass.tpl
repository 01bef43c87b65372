<# For psql and libpq: PGPASSFILE=/run/secretfs/app/pgpass
   Plain text is not escaped: a password with `:` or `\` does not fit here. -#>
# host:port:database:user:password
localhost:5432:*:<< secrets.db.username >>:<< secrets.db.password >>
