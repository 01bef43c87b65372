<# postgres: the server's private key
   Use: ssl_key_file = '/run/secretfs/app/server.key' in postgresql.conf; and in the config of the mount, for
        this file, owner: postgres (mode 0400), or owner: root, group: postgres, mode: "0440".
        Postgres refuses a key that others may read.
   Rotation: pg_ctl reload, for new connections. Set both halves in one command, as below.
   Secrets: secretfs set postgres_tls --type certificate --field cert=@server.crt --field key=@server.key
-#>
<< secrets.postgres_tls.key | trim >>
