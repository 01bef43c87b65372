<# For programs with a JSON config. A value brings its own quotes, or goes into those that are there. -#>
{
  "database": {
    "host": "localhost",
    "user": << secrets.db.username >>,
    "password": << secrets.db.password >>
  },
  "api": { "header": "Bearer << secrets.api_key >>" }
}
