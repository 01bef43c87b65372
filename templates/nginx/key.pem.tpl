<# nginx: the private key of a TLS server
   Use: ssl_certificate_key /run/secretfs/app/key.pem; nginx reads it as root, so mode 0400 will do.
   Rotation: nginx -s reload. Set both halves in one command, as below: nginx refuses a pair that does not match.
   Secrets: secretfs set web_tls --type certificate --field cert=@cert.pem --field key=@key.pem
-#>
<< secrets.web_tls.key | trim >>
