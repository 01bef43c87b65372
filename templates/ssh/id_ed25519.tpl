<# ssh, scp, sftp, rsync, git: a private key to log in with
   Use: ssh -i /run/secretfs/app/id_ed25519 HOST, or IdentityFile in ~/.ssh/config
        ssh wants it to be its user's own with no rights for others: `owner` of the file, mode 0400.
   Rotation: the next connection logs in with the new key.
   Secrets: secretfs set deploy_key --type ssh-key --field private=@id_ed25519 --field public=@id_ed25519.pub
-#>
<< secrets.deploy_key.private | trim >>
