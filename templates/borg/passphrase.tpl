<# borg: the passphrase of a repository
   Use: BORG_PASSCOMMAND="cat /run/secretfs/app/passphrase" borg create REPOSITORY::NAME FOLDER
   Rotation: the next command reads it; `borg key change-passphrase` gives the repository the new one.
   Secrets: secretfs set borg_passphrase
-#>
<< secrets.borg_passphrase >>
