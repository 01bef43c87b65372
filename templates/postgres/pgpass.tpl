<# psql, libpq: a password file
   Use: PGPASSFILE=/run/secretfs/app/pgpass psql "host=localhost …"
        It must be its user's own with no rights for others. By its name (`pgpass`, `.pgpass`, else
        `format: pgpass`), `\` and `:` are escaped as libpq reads them; a line break fits no password file.
   Rotation: the next connection reads it.
   Secrets: secretfs set db --type basic-auth
-#>
# host:port:database:user:password
localhost:*:*:<< secrets.db.username >>:<< secrets.db.password >>
