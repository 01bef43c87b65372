<# openssl: a private key to sign or serve with
   Use: openssl dgst -sha256 -sign /run/secretfs/app/key.pem FILE
   Rotation: the next command reads it.
   Secrets: secretfs set signing_key < key.pem
-#>
<< secrets.signing_key | trim >>
