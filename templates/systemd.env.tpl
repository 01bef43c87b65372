<# For systemd: EnvironmentFile=/run/secretfs/app/systemd.env
   Set `dialect: systemd` for this file in the config: systemd has its own way with backslashes. -#>
DATABASE_USER=<< secrets.db.username >>
DATABASE_PASSWORD=<< secrets.db.password >>
