<# sshd: the keys that may log in
   Use: AuthorizedKeysFile /run/secretfs/app/authorized_keys
        StrictModes wants every folder above to be root's (or the user's) and writable by nobody else, so
        mount below /run and not below /tmp. sshd reads it as the user who logs in: `owner` of the file.
   Rotation: the next login is judged by the new keys.
   Secrets: secretfs set deploy_key --type ssh-key --field private=@id_ed25519 --field public=@id_ed25519.pub
-#>
<< secrets.deploy_key.public | trim >>
