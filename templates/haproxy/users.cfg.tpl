<# haproxy: a userlist for basic auth
   Use: haproxy -f /etc/haproxy/haproxy.cfg -f /run/secretfs/app/users.cfg, and in a frontend or backend
        http-request auth unless { http_auth(users) }
        It holds a bcrypt hash, so any password up to 72 bytes is safe here; a user name has no blanks,
        quotes or backslashes. haproxy computes the hash for each request.
   Rotation: SIGUSR2 to the master (haproxy -W, systemctl reload haproxy).
   Secrets: secretfs set web_login --type basic-auth
-#>
userlist users
  user << secrets.web_login.username >> password << secrets.web_login.password | bcrypt(6) >>
