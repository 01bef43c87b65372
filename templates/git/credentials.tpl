<# git: logins for its credential store
   Use: git config --global credential.helper "store --file /run/secretfs/app/credentials"
        git only reads it: what it would save or forget there stays as it is.
   Rotation: the next fetch or push logs in with it.
   Secrets: secretfs set git --type basic-auth
-#>
https://<< secrets.git.username | urlencode >>:<< secrets.git.password | urlencode >>@git.example.com
