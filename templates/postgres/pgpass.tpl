<# psql, libpq: a password file
   Use: PGPASSFILE=/run/secretfs/app/pgpass psql …
        Plain text is not escaped: a password with `:` or `\` does not fit here.
   Rotation: the next connection reads it.
   Secrets: secretfs set db --type basic-auth
-#>
# host:port:database:user:password
localhost:5432:*:<< secrets.db.username >>:<< secrets.db.password >>
