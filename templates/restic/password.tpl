<# restic: the password of a repository
   Use: restic --password-file /run/secretfs/app/password backup FOLDER
        restic drops blanks at both ends.
   Rotation: the next command reads it; `restic key passwd` gives the repository the new one.
   Secrets: secretfs set restic_password
-#>
<< secrets.restic_password >>
