<# sshd: a host key
   Use: HostKey /run/secretfs/app/host_key
        sshd wants it to be root's own with no rights for others, as files of the mount are by default.
   Rotation: the next connection gets the new key, without a reload: sshd reads it for each one. A mount
             that is down refuses every login. Clients want to know the new key beforehand.
   Secrets: secretfs set host_key --type ssh-key --field private=@ssh_host_ed25519_key --field public=@ssh_host_ed25519_key.pub
-#>
<< secrets.host_key.private | trim >>
