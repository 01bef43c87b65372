<# curl, python: logins by host
   Use: curl --netrc-file /run/secretfs/app/netrc https://api.example.com/
        python: netrc.netrc("/run/secretfs/app/netrc")
        By its name (`netrc`, `.netrc`, else `format: netrc`), values are quoted as curl (7.84 and newer) and
        Python (3.11 and newer) read them; a control character fits no netrc file.
   Rotation: the next call reads it.
   Secrets: secretfs set api --type basic-auth
-#>
machine api.example.com
login << secrets.api.username >>
password << secrets.api.password >>
