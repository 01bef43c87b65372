<# systemd: an EnvironmentFile= for a unit
   Use: EnvironmentFile=/run/secretfs/app/app.env, and in the config of the mount, for this file,
        dialect: systemd, which has its own way with backslashes.
   Rotation: systemctl restart of the unit.
   Secrets: secretfs set db --type basic-auth
-#>
DATABASE_USER=<< secrets.db.username >>
DATABASE_PASSWORD=<< secrets.db.password >>
