<# haproxy: certificate and key of a TLS server, in one file
   Use: bind :443 ssl crt /run/secretfs/app/bundle.pem
        haproxy reads it as root, so mode 0400 will do.
   Rotation: SIGUSR2 to the master (haproxy -W, systemctl reload haproxy); a bundle that does not fit keeps
             the old workers.
   Secrets: secretfs set web_tls --type certificate --field cert=@cert.pem --field key=@key.pem
            An intermediate certificate goes into the field `chain`.
-#>
<< secrets.web_tls.cert | trim >>
<< secrets.web_tls.chain | default("") | trim >>
<< secrets.web_tls.key | trim >>
