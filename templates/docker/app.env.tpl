<# docker, podman: variables for --env-file
   Use: docker run --env-file /run/secretfs/app/app.env IMAGE, and in the config of the mount, for this file,
        dialect: docker, which takes each line to its end and knows no quotes.
        Who may ask the engine sees them (docker inspect); a mounted folder of files tells less.
   Rotation: the next `docker run` reads it; a running container keeps what it has.
   Secrets: secretfs set db --type basic-auth
            secretfs set api_key
-#>
DATABASE_USER=<< secrets.db.username >>
DATABASE_PASSWORD=<< secrets.db.password >>
API_KEY=<< secrets.api_key >>
