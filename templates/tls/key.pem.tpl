<# any TLS server: a private key
   Use: the server's option for its key file, beside the certificate.
   Rotation: the server's own reload.
   Secrets: secretfs set tls --type certificate --field cert=@cert.pem --field key=@key.pem
-#>
<< secrets.tls.key | trim >>
