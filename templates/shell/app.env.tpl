<# bash, dash, zsh, sh: variables for a script
   Use: . /run/secretfs/app/app.env, and in the config of the mount, for this file, dialect: shell.
        Every value is in single quotes, so that nothing in it runs. `set -a` before it exports them all.
   Rotation: the next `.` reads it.
   Secrets: secretfs set db --type basic-auth
            secretfs set api_key
-#>
DATABASE_USER=<< secrets.db.username >>
DATABASE_PASSWORD=<< secrets.db.password >>
API_KEY=<< secrets.api_key >>
