<# nginx: the certificate of a TLS server
   Use: ssl_certificate /run/secretfs/app/cert.pem; beside key.pem of the same secret.
   Rotation: nginx -s reload. Set both halves in one command, as below: nginx refuses a pair that does not match.
   Secrets: secretfs set web_tls --type certificate --field cert=@cert.pem --field key=@key.pem
            An intermediate certificate goes into the field `chain`.
-#>
<< secrets.web_tls.cert | trim >>
<< secrets.web_tls.chain | default("") | trim >>
