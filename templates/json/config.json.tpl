<# java, go, node, python, ruby, php: a JSON config file
   Use: the program's own option or path, or a link to /run/secretfs/app/config.json
        A value brings its own quotes, or goes into those that are there.
   Rotation: whenever the program reads it again.
   Secrets: secretfs set db --type basic-auth
            secretfs set api_key
-#>
{
  "database": {
    "host": "localhost",
    "username": << secrets.db.username >>,
    "password": << secrets.db.password >>
  },
  "api": { "header": "Bearer << secrets.api_key >>" }
}
