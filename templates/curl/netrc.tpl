<# curl, python: logins by host
   Use: curl --netrc-file /run/secretfs/app/netrc https://api.example.com/
        python: netrc.netrc("/run/secretfs/app/netrc")
        Plain text is not escaped: a password with blanks, quotes or backslashes does not fit here.
   Rotation: the next call reads it.
   Secrets: secretfs set api --type basic-auth
-#>
machine api.example.com
login << secrets.api.username >>
password << secrets.api.password >>
