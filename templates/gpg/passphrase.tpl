<# gpg: the passphrase of a key, for scripts
   Use: gpg --batch --pinentry-mode loopback --passphrase-file /run/secretfs/app/passphrase --decrypt FILE
        gpg takes the first line.
   Rotation: the next command reads it; `gpg --passwd` gives the key itself a new one.
   Secrets: secretfs set gpg_passphrase
-#>
<< secrets.gpg_passphrase >>
