<# nginx: a password file for basic auth
   Use: auth_basic_user_file /run/secretfs/app/htpasswd; and in the config of the mount, for this file,
        group: www-data, mode: "0440", because nginx's workers read it.
        It holds a bcrypt hash, so any password up to 72 bytes is safe here; a user name has no `:`, for
        basic auth knows none. nginx computes the hash for each request: a higher cost makes each slower.
   Rotation: the next request is judged by the new password; nothing to reload.
   Secrets: secretfs set web_login --type basic-auth
-#>
<< secrets.web_login.username >>:<< secrets.web_login.password | bcrypt(6) >>
