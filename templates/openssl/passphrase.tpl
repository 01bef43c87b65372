<# openssl: the passphrase of an encrypted key
   Use: openssl pkey -in encrypted.pem -passin file:/run/secretfs/app/passphrase
        openssl takes the first line.
   Rotation: the next command reads it.
   Secrets: secretfs set key_passphrase
-#>
<< secrets.key_passphrase >>
