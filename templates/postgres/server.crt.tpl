<# postgres: the server's certificate
   Use: ssl_cert_file = '/run/secretfs/app/server.crt' in postgresql.conf, beside server.key of the same
        secret; and in the config of the mount, for both files, owner: postgres.
   Rotation: pg_ctl reload, for new connections. Set both halves in one command, as below: postgres keeps
             the old pair, and logs it, if the new one does not match.
   Secrets: secretfs set postgres_tls --type certificate --field cert=@server.crt --field key=@server.key
            An intermediate certificate goes into the field `chain`.
-#>
<< secrets.postgres_tls.cert | trim >>
<< secrets.postgres_tls.chain | default("") | trim >>
