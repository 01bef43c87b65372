<# systemd: a credential for a unit
   Use: LoadCredential=password:/run/secretfs/app/credential; the service finds the copy that systemd keeps for
        it in memory at $CREDENTIALS_DIRECTORY/password.
        systemd reads it as root, byte for byte, so every value is safe here.
   Rotation: systemctl restart of the unit.
   Secrets: secretfs set db --type basic-auth
-#>
<< secrets.db.password ->>
